export interface AttemptsOptions {
  /** How many there may be within a window, which begins with the first. */
  readonly max: number
  /** Length of the window in milliseconds. */
  readonly perMs: number
  /** How many keys are remembered, the oldest being forgotten first; all of a window by default. */
  readonly keysMax?: number
}

/** Bounds how often the same peer may do something. */
export class Attempts<K> {
  readonly #options: AttemptsOptions
  /** The oldest window first. */
  readonly #windows = new Map<K, { readonly since: number; count: number }>()

  constructor(options: AttemptsOptions) {
    this.#options = options
  }

  /** Counts an attempt at this time. Returns false if there were too many. */
  take(key: K, now: number): boolean {
    const { max, keysMax = Number.POSITIVE_INFINITY } = this.#options
    for (const [other, { since }] of this.#windows) {
      if (this.#isOpen(since, now)) break
      this.#windows.delete(other)
    }
    const window = this.#windows.get(key)
    if (window && this.#isOpen(window.since, now)) {
      if (window.count >= max) return false
      window.count += 1
      return true
    }
    this.#windows.delete(key)
    const [oldest] = this.#windows.keys()
    if (this.#windows.size >= keysMax && oldest !== undefined) this.#windows.delete(oldest)
    this.#windows.set(key, { since: now, count: 1 })
    return true
  }

  /** A clock that was set back keeps no window open for longer than one was. */
  #isOpen(since: number, now: number): boolean {
    return Math.abs(now - since) < this.#options.perMs
  }
}
