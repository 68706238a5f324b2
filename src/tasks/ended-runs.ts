import type { NodeId, RunId } from '../base/ids.ts'

/** How many ends are remembered. */
const endsMax = 256

/**
 * Whether a program may have missed ends between two positions that it received one after the other: more than are
 * remembered, or those before a restart of the server. 0 is no position.
 */
export function mayMissEnds(before: bigint, now: bigint): boolean {
  if (before === 0n || now === 0n) return false
  return now < before || now - before > BigInt(endsMax)
}

/** A run that has ended, and the SuperNodes that had messages of it. */
interface End {
  readonly runId: RunId
  readonly nodes: BigUint64Array
}

/**
 * The runs that have ended, in order, for programs that keep something for a run and hold a call until it ends. A SuperNode
 * learns the end of runs that it had messages of, a SuperExec that of all runs. A position counts the ends. It starts with
 * the time, so that a position from before a restart of this server is recognised.
 */
export class EndedRuns {
  readonly #firstPosition = BigInt(Date.now()) * 1000n
  readonly #ends: End[] = []
  #forgotten = 0

  add(runId: RunId, nodes: readonly NodeId[]): void {
    this.#ends.push({ runId, nodes: BigUint64Array.from(nodes) })
    if (this.#ends.length <= endsMax) return
    this.#ends.shift()
    this.#forgotten += 1
  }

  get #position(): bigint {
    return this.#firstPosition + BigInt(this.#forgotten + this.#ends.length)
  }

  /** Where the caller stands: its own word when that makes sense, else here and now. */
  position(seen: bigint): bigint {
    return seen >= this.#firstPosition && seen <= this.#position ? seen : this.#position
  }

  /** @param nodeId the SuperNode that asks; a SuperExec asks without. */
  since(position: bigint, nodeId?: NodeId): RunId[] {
    const missed = Number(this.#position - position)
    const ends = missed <= 0 ? [] : this.#ends.slice(-missed)
    return ends.filter(({ nodes }) => nodeId === undefined || nodes.includes(nodeId)).map(({ runId }) => runId)
  }

  /** What a response says of it. */
  news(position: bigint, nodeId?: NodeId): { endedRunIds: RunId[]; endedRunsSeen: bigint } {
    return { endedRunIds: this.since(position, nodeId), endedRunsSeen: this.#position }
  }
}
