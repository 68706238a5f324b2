import { type Clock, systemClock } from './clock.ts'

/**
 * Keeps peers from filling a log: of a line that repeats for the same key, one a minute is left, and it
 * tells how many others there were. Keys are bounded too.
 */
export class LogThrottle {
  readonly #clock: Pick<Clock, 'now'>
  readonly #seen = new Map<string, { since: number; others: number }>()

  constructor(clock: Pick<Clock, 'now'> = systemClock) {
    this.#clock = clock
  }

  /** Fields for the line that may be written now; `undefined` when it is one of those left out. */
  admit(key: string): { notShown?: number } | undefined {
    const now = this.#clock.now()
    const seen = this.#seen.get(key)
    if (seen && now - seen.since < quietMs && now >= seen.since) {
      seen.others += 1
      return undefined
    }
    this.#seen.delete(key)
    const [oldest] = this.#seen.keys()
    if (this.#seen.size >= keysMax && oldest !== undefined) this.#seen.delete(oldest)
    this.#seen.set(key, { since: now, others: 0 })
    return seen?.others ? { notShown: seen.others } : {}
  }
}

const quietMs = 60_000
const keysMax = 1000
