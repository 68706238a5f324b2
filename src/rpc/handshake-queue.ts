import type { Socket } from 'node:net'

export interface HandshakeQueueOptions {
  readonly atOnce: number
  /** How long one that does not come to its end counts, in milliseconds. */
  readonly turnMs: number
  readonly start: (socket: Socket) => void
}

/**
 * Starts handshakes a few at a time, in their order. Each costs a millisecond or two of the one thread that everybody
 * shares: of many that come at once the calls of others would have to wait for all. One that is slow holds up nobody for
 * longer than its turn.
 */
export class HandshakeQueue {
  readonly #options: HandshakeQueueOptions
  readonly #waiting = new Map<string, Socket>()
  readonly #turns = new Map<string, NodeJS.Timeout>()

  constructor(options: HandshakeQueueOptions) {
    this.#options = options
  }

  add(key: string, socket: Socket): void {
    this.#waiting.set(key, socket)
    socket.once('close', () => this.end(key))
    this.#fill()
  }

  /** It is over, or will not begin any more. */
  end(key: string): void {
    this.#waiting.delete(key)
    clearTimeout(this.#turns.get(key))
    if (this.#turns.delete(key)) this.#fill()
  }

  #fill(): void {
    for (const [key, socket] of this.#waiting) {
      if (this.#turns.size >= this.#options.atOnce) return
      this.#waiting.delete(key)
      this.#turns.set(
        key,
        setTimeout(() => this.end(key), this.#options.turnMs),
      )
      this.#options.start(socket)
    }
  }
}
