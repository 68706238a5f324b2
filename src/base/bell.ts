/**
 * Wakes waiting callers: *subscribe, look, wait a bounded time, look again*. A ring that comes between
 * `subscribe` and `wait` is not lost. It carries no data: the waiter looks for itself.
 */
export class Bell<Key> {
  readonly #waiters = new Map<Key, Set<() => void>>()

  ring(key: Key): void {
    for (const wake of this.#waiters.get(key) ?? []) wake()
  }

  /** Wakes all waiting callers, e.g. when the server stops. */
  ringAll(): void {
    for (const key of this.#waiters.keys()) this.ring(key)
  }

  subscribe(key: Key): Subscription {
    let rung = false
    let wake: (() => void) | undefined
    const listener = (): void => {
      rung = true
      wake?.()
    }
    const set = this.#waiters.get(key) ?? new Set()
    this.#waiters.set(key, set.add(listener))
    return {
      wait: (ms, signal) =>
        new Promise((resolve) => {
          if (rung || signal?.aborted) {
            rung = false
            return resolve()
          }
          const done = (): void => {
            clearTimeout(timer)
            signal?.removeEventListener('abort', done)
            wake = undefined
            rung = false
            resolve()
          }
          const timer = setTimeout(done, ms)
          signal?.addEventListener('abort', done, { once: true })
          wake = done
        }),
      [Symbol.dispose]: () => {
        set.delete(listener)
        if (set.size === 0) this.#waiters.delete(key)
      },
    }
  }
}

export interface Subscription extends Disposable {
  /** Resolves at the next ring, after `ms`, or when the signal is aborted, whichever comes first. */
  wait(ms: number, signal?: AbortSignal): Promise<void>
}

/**
 * Looks until there is something or the time is over. `look` returns `undefined` for "nothing yet".
 * Resolves with `undefined` when nothing came in `waitMs` or the signal was aborted.
 */
export async function lookAgain<Key, T>(
  bell: Bell<Key>,
  key: Key,
  look: () => Promise<T | undefined>,
  options: { waitMs: number; signal?: AbortSignal },
): Promise<T | undefined> {
  using subscription = bell.subscribe(key)
  const endsAt = performance.now() + options.waitMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    const restMs = endsAt - performance.now()
    if (restMs <= 0 || options.signal?.aborted) return undefined
    await subscription.wait(restMs, options.signal)
  }
}
