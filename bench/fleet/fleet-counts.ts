/** What the nodes of a fleet did. */
export interface Counts {
  /** Nodes that came online again after their connection was lost. */
  joined: number
  joinsRepeated: number
  replied: number
  /** By method. */
  readonly calls: Record<string, number>
  /** Calls of nodes that wait: heartbeats, and pulls that returned no message. How many there are depends on the time. */
  waitingCalls: number
  /** By method and reason. */
  readonly lostCalls: Record<string, number>
  /** From the creation of each message to its arrival at the node. */
  readonly latenciesMs: number[]
}

const none = (): Counts => ({
  ...{ joined: 0, joinsRepeated: 0, replied: 0, waitingCalls: 0 },
  ...{ calls: {}, lostCalls: {}, latenciesMs: [] },
})

/** What the nodes of one process did since the last report. */
export class FleetCounts {
  #counts = none()

  /** Returns the counts and begins anew. */
  take(): Counts {
    const taken = this.#counts
    this.#counts = none()
    return taken
  }

  joined(): void {
    this.#counts.joined += 1
  }

  joinedAgain(): void {
    this.#counts.joinsRepeated += 1
  }

  replied(): void {
    this.#counts.replied += 1
  }

  done(method: string): void {
    const { calls } = this.#counts
    calls[method] = (calls[method] ?? 0) + 1
  }

  waited(): void {
    this.#counts.waitingCalls += 1
  }

  lost(method: string, reason: string): void {
    const { lostCalls } = this.#counts
    const what = `${method}: ${reason}`
    lostCalls[what] = (lostCalls[what] ?? 0) + 1
  }

  received(latencyMs: number): void {
    this.#counts.latenciesMs.push(latencyMs)
  }
}

/** One report of all processes together. */
export function sumOf(reports: readonly Counts[]): Counts {
  const sum = none()
  for (const report of reports) {
    sum.joined += report.joined
    sum.joinsRepeated += report.joinsRepeated
    sum.replied += report.replied
    sum.waitingCalls += report.waitingCalls
    for (const kind of ['calls', 'lostCalls'] as const)
      for (const [name, count] of Object.entries(report[kind])) sum[kind][name] = (sum[kind][name] ?? 0) + count
    for (const latency of report.latenciesMs) sum.latenciesMs.push(latency)
  }
  return sum
}

export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
