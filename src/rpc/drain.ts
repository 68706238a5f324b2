import type { CallHead } from './call.ts'

/**
 * Tells the calls of a server that it is about to end: calls that are held return at once, and streams end. Other calls go on
 * to their end.
 */
export class Drain {
  readonly #served = new Set<ServedCall>()
  #hasBegun = false

  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** Why the program takes no more calls; `undefined` while it does. */
  get trouble(): string | undefined {
    return this.#hasBegun ? 'The server is about to end.' : undefined
  }

  begin(): void {
    this.#hasBegun = true
    for (const call of this.#served) call.release()
  }

  /** The call is counted until it is disposed of. */
  enter(method: string): ServedCall {
    const call = new ServedCall(method, this.#hasBegun, () => this.#served.delete(call))
    this.#served.add(call)
    return call
  }

  /** Names the methods of the calls under way, e.g. `PullObject (2), PushObject`. */
  describe(): string {
    const counts = new Map<string, number>()
    for (const { method } of this.#served) counts.set(method, (counts.get(method) ?? 0) + 1)
    return [...counts].map(([method, count]) => (count === 1 ? method : `${method} (${count})`)).join(', ')
  }
}

/** A call that is being served. */
export class ServedCall implements Disposable {
  readonly method: string
  readonly #onEnd: () => void
  readonly #onHangUp = (): void => this.#controller?.abort()
  #isReleased: boolean
  #controller: AbortController | undefined
  #source: AbortSignal | undefined

  constructor(method: string, isReleased: boolean, onEnd: () => void) {
    this.method = method
    this.#isReleased = isReleased
    this.#onEnd = onEnd
  }

  /** Aborted when that of the call is, and when the server is about to end. Made when it is asked for. */
  signalOf(head: Pick<CallHead, 'signal'>): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      this.#source = head.signal
      if (this.#isReleased || this.#source.aborted) this.#controller.abort()
      this.#source.addEventListener('abort', this.#onHangUp, { once: true })
    }
    return this.#controller.signal
  }

  release(): void {
    this.#isReleased = true
    this.#controller?.abort()
  }

  [Symbol.dispose](): void {
    this.#source?.removeEventListener('abort', this.#onHangUp)
    this.#onEnd()
  }
}

/** Whether something ends within this time. */
export async function within(graceMs: number, end: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<false>()
  const timer = setTimeout(() => resolve(false), graceMs)
  const isEnded = await Promise.race([end.then(() => true), late])
  clearTimeout(timer)
  return isEnded
}
