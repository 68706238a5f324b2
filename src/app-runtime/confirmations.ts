import type { TaskRoute } from '../app-api/fetch-objects.ts'

/** Message ids in one call. */
const idsPerCallMax = 500

/**
 * Confirms messages that the app has received. At servers that take several confirmations in one call, those that come while
 * one is on its way travel together, and the app goes on at once.
 */
export class Confirmations {
  readonly #route: TaskRoute
  #waiting: string[] = []
  #sending: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(route: TaskRoute) {
    this.#route = route
  }

  /** Resolves when the server has it, or at once if it is sent later: see `flush`. */
  async confirm(messageId: string): Promise<void> {
    if (this.#route.api.objectsBytesMax === 0) return this.#send([messageId])
    this.#waiting.push(messageId)
    this.#sending ??= this.#drain()
  }

  /**
   * Resolves when the server has everything that was confirmed. Rejects with the first failure since the last call, or, once
   * the signal is aborted, with its reason; what is on its way goes on.
   */
  async flush(signal?: AbortSignal): Promise<void> {
    await untilAborted(this.#sending, signal)
    const failure = this.#failure
    this.#failure = undefined
    if (failure) throw failure.error
  }

  async #drain(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        // What the app confirms in this turn travels together.
        await new Promise((resolve) => setImmediate(resolve))
        const ids = this.#waiting.slice(0, idsPerCallMax)
        this.#waiting = this.#waiting.slice(idsPerCallMax)
        await this.#send(ids)
      }
    } catch (error) {
      // The server hands out again what was not confirmed.
      this.#waiting = []
      this.#failure ??= { error }
    } finally {
      this.#sending = undefined
    }
  }

  #send([messageObjectId = '', ...moreMessageObjectIds]: string[]): Promise<void> {
    const { api, nodeId, runId } = this.#route
    return api.confirmMessageReceived({ node: { nodeId }, runId, messageObjectId, moreMessageObjectIds })
  }
}

/** Resolves with the work, or rejects with the reason of the signal once that is aborted. */
async function untilAborted(work: Promise<void> | undefined, signal: AbortSignal | undefined): Promise<void> {
  if (!work || !signal) return work
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
