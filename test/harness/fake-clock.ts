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
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper)
        reject(signal?.reason)
      }
      const wake = (): void => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      const sleeper = { at: this.#now + ms, wake }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', onAbort)
    })
  }

  /** Advances to the end of the next sleep, unless none is due within `withinMs`. */
  advanceToNext(withinMs: number): void {
    const next = Math.min(...[...this.#sleepers].map(({ at }) => at))
    if (next - this.#now <= withinMs && next !== Number.POSITIVE_INFINITY) this.advance(next - this.#now)
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

/** A clock that can be set: pauses take as long as they take all the same. */
export class SettableClock extends FakeClock {
  setMs = 0

  steadyNow(): number {
    return super.now()
  }

  override now(): number {
    return super.now() + this.setMs
  }
}

/**
 * Lets time pass until something is there: from one sleep that is due within `withinMs` to the next. Files, sockets and
 * signals get their turn in between, however long they take, and no fake time passes meanwhile.
 */
export async function letPass(
  clock: FakeClock,
  what: string,
  done: () => boolean,
  withinMs = Number.POSITIVE_INFINITY,
): Promise<void> {
  const endsAt = performance.now() + patienceMs
  while (!done()) {
    clock.advanceToNext(withinMs)
    await new Promise((resolve) => setImmediate(resolve))
    if (performance.now() > endsAt) throw new Error(`${what} did not happen, whatever time passed`)
  }
}

/** How long work in the background may take, e.g. reading files, on a busy machine. */
const patienceMs = 60_000
