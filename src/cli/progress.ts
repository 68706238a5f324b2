import { oneLine } from '../base/printable.ts'

/** How far a run is, gathered from its events, and the words for it. Pure: drawing is somebody else's. */
export interface RunProgress {
  readonly round: number
  readonly rounds: number
  readonly phase: string
  /** Messages of this phase, those with a reply, and those whose reply is an error. */
  readonly asked: number
  readonly replied: number
  readonly failed: number
  /** The latest of each. */
  readonly metrics: Readonly<Record<string, number>>
}

export const noProgress: RunProgress = { round: 0, rounds: 0, phase: '', asked: 0, replied: 0, failed: 0, metrics: {} }

/** Events that are not understood change nothing: they may come from another release. */
export function withEvent(progress: RunProgress, event: { event: string; data: string }): RunProgress {
  const data = parseObject(event.data)
  if (!data) return progress
  const number = (key: string): number => (typeof data[key] === 'number' ? data[key] : 0)
  if (event.event === 'trellis.replies')
    return { ...progress, asked: number('asked'), replied: number('replied'), failed: number('failed') }
  if (event.event !== 'trellis.progress') return progress
  const phase = typeof data.phase === 'string' ? data.phase : progress.phase
  const begins = phase !== progress.phase || number('round') !== progress.round
  return {
    ...progress,
    ...(begins ? { asked: 0, replied: 0, failed: 0 } : {}),
    round: number('round'),
    rounds: number('rounds'),
    phase,
    metrics: { ...progress.metrics, ...numbersIn(data.metrics) },
  }
}

/** `round 2/3 · train · 2 of 3 nodes replied · accuracy 0.91`. Empty while nothing is known. */
export function progressText(progress: RunProgress): string {
  const { round, rounds, phase, asked, replied, failed, metrics } = progress
  const parts: string[] = []
  if (round > 0) parts.push(`round ${round}/${rounds}`)
  if (phase === 'round-end') parts.push('done')
  else if (phase !== '') parts.push(oneLine(phase))
  if (asked > 0 && phase !== 'round-end') {
    parts.push(`${replied} of ${asked} nodes replied${failed > 0 ? `, ${failed} with an error` : ''}`)
  }
  const shown = Object.entries(metrics).slice(0, metricsMax)
  parts.push(...shown.map(([name, value]) => `${oneLine(name)} ${metricText(value)}`))
  return parts.join(' · ')
}

/** A bar of `cells` cells, as far as the rounds are. Empty where there are no rounds to tell. */
export function progressBar(progress: RunProgress, cells: number): string {
  if (progress.rounds < 1) return ''
  const full = Math.round(fractionDone(progress) * cells)
  return '━'.repeat(full) + '╌'.repeat(cells - full)
}

/** Training is taken for one half of a round and evaluation for the other. From 0 to 1. */
function fractionDone({ round, rounds, phase, asked, replied }: RunProgress): number {
  const replies = asked > 0 ? Math.min(1, replied / asked) : 0
  const ofRound =
    phase === 'round-end' ? 1 : phase === 'evaluate' ? 0.5 + replies / 2 : phase === 'train' ? replies / 2 : 0
  return Math.min(1, Math.max(0, (round - 1 + ofRound) / rounds))
}

/** Whether this is worth a line of its own where nothing can be redrawn: a phase has all its replies, or a round is over. */
export function isMilestone(before: RunProgress, now: RunProgress): boolean {
  if (now.phase === 'round-end') return before.phase !== 'round-end' || before.round !== now.round
  return now.asked > 0 && now.replied >= now.asked && !(before.replied >= before.asked && before.asked === now.asked)
}

const metricsMax = 4

/** Another release may send `null` for what JSON cannot say. */
function metricText(value: number | null): string {
  if (value === null) return '?'
  return Number.isInteger(value) ? String(value) : value.toPrecision(4)
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function numbersIn(value: unknown): Record<string, number> {
  const entries = Object.entries(value ?? {}).filter(([, item]) => typeof item === 'number')
  return Object.fromEntries(entries) as Record<string, number>
}
