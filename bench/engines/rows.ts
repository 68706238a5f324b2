import type { Machine } from '../machine.ts'
import type { Rows } from '../tables.ts'

/** What one SuperLink does with an engine. What was not measured is NaN or absent. */
export interface EngineFigures {
  readonly title: string
  readonly fleets: readonly {
    readonly nodes: number
    readonly secondsPerRound: number
    readonly latencyMs: number
    /** While a round runs. */
    readonly callsPerSecond: number
    readonly cpuMsPerNodeAndRound: number
  }[]
  readonly secondsPerLargeRound: number | undefined
}

export interface EnginesReport {
  readonly machine: Machine
  readonly figures: readonly EngineFigures[]
}

export function enginesTable({ figures }: EnginesReport): Rows {
  const sizes = [...new Set(figures.flatMap(({ fleets }) => fleets.map(({ nodes }) => nodes)))]
  type Fleet = EngineFigures['fleets'][number]
  const rowsOf = (nodes: number): string[][] => {
    const row = (what: string, key: Exclude<keyof Fleet, 'nodes'>, digits: number): string[] => [
      `${what}, ${nodes} SuperNodes`,
      ...figures.map(({ fleets }) => textOf(fleets.find((fleet) => fleet.nodes === nodes)?.[key], digits)),
    ]
    return [
      row('s a round of small messages', 'secondsPerRound', 3),
      row('calls a second in a round', 'callsPerSecond', 0),
      row('ms of a call in the median', 'latencyMs', 1),
      row('CPU ms of the SuperLink per node and round', 'cpuMsPerNodeAndRound', 2),
    ]
  }
  const large = figures.map(({ secondsPerLargeRound }) => textOf(secondsPerLargeRound, 2))
  return [
    ['', ...figures.map(({ title }) => title)],
    ...sizes.flatMap(rowsOf),
    ['s a round, 2 SuperNodes, 20 MB model', ...large],
  ]
}

function textOf(value: number | undefined, digits: number): string {
  return value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(digits)
}
