import type { TaskRoute } from './task-messages.ts'

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

  /** Resolves when the server has heard it, or at once if the server is told later: see `flush`. */
  async confirm(messageId: string): Promise<void> {
    if (this.#route.api.objectsBytesMax === 0) return this.#send([messageId])
    this.#waiting.push(messageId)
    this.#sending ??= this.#drain()
  }

  /** Resolves when the server has heard everything. Throws the first failure since the last call. */
  async flush(): Promise<void> {
    await this.#sending
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
      // The server hands out again what it has not heard.
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
