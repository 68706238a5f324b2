import type { Clock } from '../../src/base/clock.ts'

/** A clock that tests drive. `sleep` resolves when `advance` has passed its instant. */
export class FakeClock implements Clock {
  #now: number
  readonly #sleepers = new Set<{ at: number; wake: () => void }>()

  constructor(startsAt = Date.parse('2026-11-24T12:00:00Z')) {
    this.#now = startsAt
  }

  now(): number {
    return this.#now
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const sleeper = { at: this.#now + ms, wake: resolve }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper)
        reject(signal.reason)
      })
    })
  }

  advance(ms: number): void {
    this.#now += ms
    for (const sleeper of this.#sleepers) {
      if (sleeper.at > this.#now) continue
      this.#sleepers.delete(sleeper)
      sleeper.wake()
    }
  }
}
