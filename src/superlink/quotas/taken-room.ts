/** Room that was taken from quotas for bytes in flight, until it is disposed of. */
export class TakenRoom implements Disposable {
  readonly #usages: readonly { inFlight: number }[]
  #left: number

  constructor(bytes: number, usages: readonly { inFlight: number }[]) {
    this.#usages = usages
    this.#left = bytes
  }

  /** So many of the bytes are stored: a count of the database includes them from now on. */
  release(stored: number): void {
    const released = Math.min(stored, this.#left)
    this.#left -= released
    for (const usage of this.#usages) usage.inFlight -= released
  }

  [Symbol.dispose](): void {
    this.release(this.#left)
  }
}
