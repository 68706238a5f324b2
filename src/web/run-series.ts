import type { RunEventView } from './model.ts'

/** The curves of a run, and where it is, gathered from its events. */
export interface RunSeries {
  readonly round: number
  readonly rounds: number
  readonly phase: string
  readonly asked: number
  readonly replied: number
  readonly failed: number
  /** Names of the nodes whose replies are late, as the SuperLink reports them. */
  readonly late: readonly string[]
  /** By name, e.g. `train loss`: values by round. */
  readonly metrics: ReadonlyMap<string, ReadonlyMap<number, number>>
  /** When each round ended, in epoch milliseconds. */
  readonly roundEnds: ReadonlyMap<number, number>
}

/** Returns a series for `withEvents` to start from. */
export function emptySeries(): RunSeries {
  return { round: 0, rounds: 0, phase: '', ...noReplies, metrics: new Map(), roundEnds: new Map() }
}

const noReplies = { asked: 0, replied: 0, failed: 0, late: [] } as const

/** So many curves of one run are kept, and so many rounds of each. */
const metricsMax = 64
const roundsMax = 10_000

/** Adds events. Those that are not understood change nothing. Curves are changed in place: the returned object is new. */
export function withEvents(series: RunSeries, events: readonly RunEventView[]): RunSeries {
  let result = series
  for (const event of events) result = withEvent(result, event)
  return result
}

function withEvent(series: RunSeries, { event, data: text, at }: RunEventView): RunSeries {
  const data = parseObject(text)
  if (!data) return series
  const number = (key: string): number => (typeof data[key] === 'number' ? data[key] : 0)
  if (event === 'trellis.replies')
    return {
      ...series,
      asked: number('asked'),
      replied: number('replied'),
      failed: number('failed'),
      late: textsIn(data.late),
    }
  if (event !== 'trellis.progress') return series
  const round = number('round')
  const phase = typeof data.phase === 'string' ? data.phase : series.phase
  const begins = phase !== series.phase || round !== series.round
  const metrics = series.metrics as Map<string, Map<number, number>>
  const roundEnds = series.roundEnds as Map<number, number>
  // The end of a round repeats what evaluation reported, unless the server evaluated by itself.
  const kind = phase === 'round-end' ? 'round' : phase
  for (const [name, value] of Object.entries(data.metrics ?? {}))
    if (typeof value === 'number') keepValue(metrics, `${kind} ${name}`, round, value)
  if (phase === 'round-end' && roundEnds.size < roundsMax) roundEnds.set(round, Date.parse(at))
  const replies = begins ? noReplies : {}
  return { ...series, ...replies, round, rounds: number('rounds'), phase }
}

function keepValue(metrics: Map<string, Map<number, number>>, name: string, round: number, value: number): void {
  const values = metrics.get(name) ?? new Map<number, number>()
  if (!metrics.has(name) && metrics.size >= metricsMax) return
  if (values.size >= roundsMax && !values.has(round)) return
  metrics.set(name, values.set(round, value))
}

/** Curves without those that repeat another, the rounds in order. */
export function curvesOf({ metrics }: RunSeries): { name: string; points: [round: number, value: number][] }[] {
  const curves = [...metrics].map(([name, values]) => ({
    name,
    points: [...values].sort(([a], [b]) => a - b) as [number, number][],
  }))
  const repeats = (name: string): boolean =>
    name.startsWith('round ') && metrics.has(name.replace('round ', 'evaluate '))
  return curves.filter(({ name }) => !repeats(name)).sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Returns the values of all curves for each round, in the order of the curves; `undefined` if a curve has none there. */
export function valuesByRound(
  curves: ReturnType<typeof curvesOf>,
): { round: number; values: (number | undefined)[] }[] {
  const rounds = [...new Set(curves.flatMap(({ points }) => points.map(([round]) => round)))].sort((a, b) => a - b)
  const byCurve = curves.map(({ points }) => new Map(points))
  return rounds.map((round) => ({ round, values: byCurve.map((values) => values.get(round)) }))
}

/** Milliseconds that are left, from the pace of the last rounds; `undefined` while it is not known. */
export function timeLeftMs({ rounds, roundEnds }: RunSeries): number | undefined {
  const ends = [...roundEnds].sort(([a], [b]) => a - b).slice(-6)
  const [first, last] = [ends[0], ends.at(-1)]
  if (!first || !last || first === last || last[0] >= rounds) return undefined
  return ((last[1] - first[1]) / (last[0] - first[0])) * (rounds - last[0])
}

function textsIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
