import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long queries may go on in one turn of the event loop, in milliseconds. */
const sliceMs = 10

/**
 * Lets other work go on between the queries of long work, such as a message with a hundred thousand objects: SQLite runs on
 * the one thread of the program, and a chain of queries would never leave it.
 */
export class QueryTurns {
  #since: number | undefined

  /** Returns the next turn of the event loop if queries have had enough of this one. */
  readonly wait = (): Promise<void> | undefined => {
    const now = performance.now()
    if (this.#since !== undefined) return now - this.#since > sliceMs ? nextTurn() : undefined
    this.#since = now
    setImmediate(() => {
      this.#since = undefined
    })
    return undefined
  }
}
