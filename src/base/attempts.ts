import type { Clock } from '../../base/clock.ts'

/** More than a few mistypes need. */
const attemptsMax = 10
const perMs = 60_000
/** Addresses that are remembered; the oldest is forgotten first. */
const addressesMax = 1000

/** Bounds how often an address may enter a token: each wrong one is a line in the audit log. */
export class TokenAttempts {
  readonly #clock: Pick<Clock, 'now'>
  readonly #seen = new Map<string, { since: number; count: number }>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  /** Counts an attempt. Returns whether it may be made. */
  take(host: string): boolean {
    const now = this.#clock.now()
    const seen = this.#seen.get(host)
    if (seen && now >= seen.since && now - seen.since < perMs) {
      seen.count += 1
      return seen.count <= attemptsMax
    }
    this.#seen.delete(host)
    const [oldest] = this.#seen.keys()
    if (this.#seen.size >= addressesMax && oldest !== undefined) this.#seen.delete(oldest)
    this.#seen.set(host, { since: now, count: 1 })
    return true
  }
}
