import { type Gauge, gauges, type Sample } from './gauges.ts'

const MiB = 1024 * 1024

/** How much more may be used at the end than after the first tenth: a share of it, and a constant. */
const mayGrow: Readonly<Record<Gauge, { readonly share: number; readonly by: number }>> = {
  superlinkMemory: { share: 0.2, by: 16 * MiB },
  supernodeMemory: { share: 0.2, by: 16 * MiB },
  superexecMemory: { share: 0.2, by: 16 * MiB },
  superlinkHandles: { share: 0.1, by: 4 },
  supernodeHandles: { share: 0.1, by: 4 },
  superexecHandles: { share: 0.1, by: 4 },
  database: { share: 0.1, by: 2 * MiB },
  // It grows to 4,000 pages and what is written while they are copied, and is used again from its beginning.
  writeAheadLog: { share: 0, by: 64 * MiB },
  disk: { share: 0.1, by: 4 * MiB },
}

export interface GaugeReport {
  /** Median of the second tenth. */
  readonly early: number
  /** Median of the last tenth. */
  readonly late: number
  readonly max: number
  readonly lateMax: number
  readonly isFlat: boolean
}

export interface SoakCounts {
  readonly seconds: number
  readonly runsCompleted: number
  readonly runsFailed: number
  /** Of the run that trained all along. */
  readonly rounds: number
  readonly nodesStarted: number
  readonly nodesKilled: number
  /** They did not end within the time for it. */
  readonly nodesEndedLate: number
  readonly certificatesRenewed: number
}

export interface SoakReport extends SoakCounts {
  readonly gauges: Readonly<Record<Gauge, GaugeReport>>
  /** Sentences on what was not as it should be. */
  readonly faults: readonly string[]
}

/** Programs use more while they become warm: in a short soak that may take longer than the first tenth. */
const warmUpSeconds = 600

function allowanceOf(gauge: Gauge, seconds: number): number {
  const { by } = mayGrow[gauge]
  if (seconds >= warmUpSeconds) return by
  return Math.max(by, gauge.endsWith('Handles') ? 24 : 96 * MiB)
}

/** Compares the last tenth with the second one. */
export function describeSoak(counts: SoakCounts, samples: readonly Sample[], faults: readonly string[]): SoakReport {
  const described = gauges.map((gauge) => [gauge, describeGauge(gauge, counts.seconds, samples)] as const)
  return {
    ...counts,
    gauges: Object.fromEntries(described) as Record<Gauge, GaugeReport>,
    faults: [
      ...faults,
      ...described
        .filter(([, { isFlat }]) => !isFlat)
        .map(
          ([gauge, { early, late, lateMax }]) =>
            `${gauge} grew from ${early} to ${late}, at most ${lateMax} are allowed`,
        ),
    ],
  }
}

function describeGauge(gauge: Gauge, seconds: number, samples: readonly Sample[]): GaugeReport {
  const tenth = (number: number): number[] => {
    const [from, to] = [number, number + 1].map((at) => Math.floor((samples.length * at) / 10)) as [number, number]
    return samples.slice(from, Math.max(to, from + 1)).map(({ values }) => values[gauge])
  }
  const [early, late] = [median(tenth(1)), median(tenth(9))]
  const lateMax = Math.round(early * (1 + mayGrow[gauge].share) + allowanceOf(gauge, seconds))
  return { early, late, max: Math.max(...samples.map(({ values }) => values[gauge])), lateMax, isFlat: late <= lateMax }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

export function soakText(report: SoakReport): string {
  const { seconds, runsCompleted, runsFailed, rounds, nodesStarted, nodesKilled, nodesEndedLate } = report
  const rows = gauges.map((gauge) => {
    const { early, late, max, isFlat } = report.gauges[gauge]
    const shown = [early, late, max].map((value) => shownValue(gauge, value).padStart(12)).join('')
    return `${gauge.padEnd(20)}${shown}  ${isFlat ? 'flat' : 'GROWS'}`
  })
  return [
    `${Math.round(seconds / 60)} minutes: ${runsCompleted} runs completed, ${runsFailed} failed, and one had ${rounds} rounds; ${nodesStarted} SuperNodes came, ${nodesKilled} of them were killed, ${nodesEndedLate} did not end in time; certificates renewed ${report.certificatesRenewed} times`,
    `${''.padEnd(20)}${['2nd tenth', 'last tenth', 'most'].map((head) => head.padStart(12)).join('')}`,
    ...rows,
    ...(report.faults.length === 0 ? ['No faults'] : report.faults.map((fault) => `FAULT: ${fault}`)),
  ].join('\n')
}

function shownValue(gauge: Gauge, value: number): string {
  return gauge.endsWith('Handles') ? String(value) : `${(value / MiB).toFixed(1)} MiB`
}
