import type { MetricRecord } from '../../message/records.ts'

/** How a node did in the rounds of this training so far. */
export interface NodePast {
  /** The last round in which it was asked to train; 0 if it never was. */
  readonly lastRound: number
  /** How often it was asked to train. */
  readonly asked: number
  /** How often it replied in time, with an error or without. */
  readonly replied: number
  readonly failed: number
  /** In how many of the last rounds that asked it, without a break, it did not reply in time. */
  readonly lateInARow: number
  /** How long its last reply took. */
  readonly seconds: number | undefined
  /** The numbers among the metrics of its last reply. */
  readonly metrics: Readonly<Record<string, number>>
}

const nothing: NodePast = {
  lastRound: 0,
  asked: 0,
  replied: 0,
  failed: 0,
  lateInARow: 0,
  seconds: undefined,
  metrics: {},
}

/** How the nodes did in former rounds, for policies that choose among them. */
export class NodeHistory {
  readonly #nodes = new Map<bigint, NodePast>()
  /** @internal How many nodes the round cannot do without: a policy of the past must not keep it waiting for ever. */
  needed = 1

  /** What is known of a node; of one that was never asked everything is 0. */
  of(nodeId: bigint): NodePast {
    return this.#nodes.get(nodeId) ?? nothing
  }

  /** @internal */
  asked(nodeId: bigint, round: number): void {
    const past = this.of(nodeId)
    this.#nodes.set(nodeId, { ...past, lastRound: round, asked: past.asked + 1 })
  }

  /** @internal */
  replied(nodeId: bigint, reply: { failed: boolean; seconds: number; metrics: MetricRecord | undefined }): void {
    const past = this.of(nodeId)
    this.#nodes.set(nodeId, {
      ...past,
      replied: past.replied + 1,
      failed: past.failed + (reply.failed ? 1 : 0),
      lateInARow: 0,
      seconds: reply.seconds,
      metrics: reply.metrics ? numbersOf(reply.metrics) : past.metrics,
    })
  }

  /** @internal Returns in how many rounds in a row it was late by now. */
  late(nodeId: bigint): number {
    const past = this.of(nodeId)
    this.#nodes.set(nodeId, { ...past, lateInARow: past.lateInARow + 1 })
    return past.lateInARow + 1
  }

  /** @internal For a checkpoint. */
  toJson(): string {
    return JSON.stringify([...this.#nodes].map(([nodeId, past]) => [String(nodeId), past]))
  }

  /** @internal */
  restore(json: string): void {
    for (const [nodeId, past] of JSON.parse(json) as [string, Omit<NodePast, 'seconds'> & { seconds?: number }][])
      this.#nodes.set(BigInt(nodeId), { ...past, seconds: past.seconds })
  }
}

/** Lists are left out, and numbers that are not finite. */
export function numbersOf(metrics: MetricRecord): Record<string, number> {
  const numbers = [...metrics].filter(([, value]) => !Array.isArray(value) && Number.isFinite(Number(value)))
  return Object.fromEntries(numbers.map(([key, value]) => [key, Number(value)]))
}
