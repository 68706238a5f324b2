import { spreadText } from '../spread.ts'
import type { Rows } from '../tables.ts'
import type { TimedEvent, Waterfall } from './main.ts'

const barWidth = 60

export function waterfallTables({ steps, roundMs, firstRoundsMs, start, round }: Waterfall): {
  steps: Rows
  start: Rows
  round: Rows
} {
  const head = ['ms', 'takes', 'program', 'call or mark', '']
  return {
    steps: [
      ['from flwr run, 2 SuperNodes that have run before', 'ms', 'target'],
      ...Object.entries(steps).map(([name, ms]) => [name, ms.toFixed(0), name.includes('instruction') ? '500' : '']),
      ...(firstRoundsMs
        ? [['a round of 2 ClientApps that add one: rounds 2 to 10', spreadText(firstRoundsMs, 1), '']]
        : []),
      ['the same, warm: rounds 51 to 100', spreadText(roundMs, 1), '30'],
    ],
    start: [head, ...bars(start, steps['round 1 ends'] ?? Number.NaN)],
    round: [head, ...bars(round, roundMs.median)],
  }
}

/** One line for each event; of a call that began earlier or ends later, the part within. */
function bars(events: readonly TimedEvent[], lengthMs: number): string[][] {
  const column = (ms: number): number => Math.round((Math.min(Math.max(ms, 0), lengthMs) / lengthMs) * barWidth)
  return events.map(({ program, name, atMs, ms }) => {
    const from = column(atMs)
    const bar = ms === undefined ? '|' : '='.repeat(Math.max(1, column(atMs + ms) - from))
    return [atMs.toFixed(1), ms?.toFixed(1) ?? '', program, name, `${' '.repeat(from)}${bar}`]
  })
}
