/** How far a run is, gathered from its events, and the words for it. Pure: drawing is somebody else's. */
export interface RunProgress {
  readonly round: number
  readonly rounds: number
  readonly phase: string
  /** Messages of this phase, those with a reply, and those whose reply is an error. */
  readonly asked: number
  readonly replied: number
  readonly failed: number
  readonly metrics: Readonly<Record<string, number>>
}

export const noProgress: RunProgress = { round: 0, rounds: 0, phase: '', asked: 0, replied: 0, failed: 0, metrics: {} }

/** Events that are not understood change nothing: they may come from another release. */
export function withEvent(progress: RunProgress, event: { event: string; data: string }): RunProgress {
  let data: Record<string, unknown>
  try {
    data = JSON.parse(event.data) as Record<string, unknown>
  } catch {
    return progress
  }
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
    metrics: { ...progress.metrics, ...(data.metrics as Record<string, number> | undefined) },
  }
}

/** One line: `round 2/3 · train · 2 of 3 nodes replied · accuracy 0.91`. Empty while nothing is known. */
export function progressText(progress: RunProgress): string {
  const { round, rounds, phase, asked, replied, failed, metrics } = progress
  const parts: string[] = []
  if (round > 0) parts.push(`round ${round}/${rounds}`)
  if (phase === 'round-end') parts.push('done')
  else if (phase !== '') parts.push(phase)
  if (asked > 0 && phase !== 'round-end') {
    parts.push(`${replied} of ${asked} nodes replied${failed > 0 ? `, ${failed} with an error` : ''}`)
  }
  parts.push(
    ...Object.entries(metrics)
      .slice(0, metricsMax)
      .map(([name, value]) => `${name} ${metricText(value)}`),
  )
  return parts.join(' · ')
}

/** Whether this is worth a line of its own where nothing can be redrawn: a phase has all its replies, or a round is over. */
export function isMilestone(before: RunProgress, now: RunProgress): boolean {
  if (now.phase === 'round-end') return before.phase !== 'round-end' || before.round !== now.round
  return now.asked > 0 && now.replied >= now.asked && !(before.replied >= before.asked && before.asked === now.asked)
}

const metricsMax = 4

function metricText(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4)
}
