import type { RunId } from '../base/ids.ts'

/** As many ends are remembered: who has missed more keeps its processes until they are idle for long. */
const endsMax = 256

/**
 * The runs that have ended, in order, for those who keep something for a run and hold a call to hear of its end. A
 * position counts the ends; it starts with the time, so that positions of a former life of this server are not taken for
 * ones of this.
 */
export class EndedRuns {
  readonly #firstPosition = BigInt(Date.now()) * 1000n
  readonly #ends: RunId[] = []
  #forgotten = 0

  add(runId: RunId): void {
    this.#ends.push(runId)
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

  since(position: bigint): RunId[] {
    const missed = Number(this.#position - position)
    return missed <= 0 ? [] : this.#ends.slice(-missed)
  }

  /** What a response says of it. */
  news(position: bigint): { endedRunIds: RunId[]; endedRunsSeen: bigint } {
    return { endedRunIds: this.since(position), endedRunsSeen: this.#position }
  }
}
