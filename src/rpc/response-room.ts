import type { ByteRoom } from './byte-shares.ts'
import type { CallHead } from './call.ts'

/**
 * The room of the responses of one call. A handler reserves room before it reads something large; the door holds what was
 * built until it is written.
 */
export class ResponseRoom {
  readonly #room: ByteRoom
  #reserved = 0

  constructor(room: ByteRoom) {
    this.#room = room
  }

  /** Waits until so many bytes more of a response may be built. */
  reserve(bytes: number, caller: Caller): Promise<void> | undefined {
    return this.#grow(this.#reserved + bytes, { caller })
  }

  /** Waits until this response, which has been built, may be written. */
  hold(bytes: number, caller: Caller): Promise<void> | undefined {
    const beyond = this.#reserved - bytes
    if (beyond >= 0) {
      if (beyond > 0) this.#room.give(beyond)
      this.#reserved = bytes
      return undefined
    }
    return this.#grow(bytes, { caller, isBuilt: true })
  }

  /** The response has been written; the call may have another one. */
  written(): void {
    this.#room.give(this.#reserved)
    this.#reserved = 0
  }

  #grow(bytes: number, options: { caller: Caller; isBuilt?: boolean }): Promise<void> | undefined {
    const wait = this.#room.take(bytes - this.#reserved, options)
    if (wait)
      return wait.then(() => {
        this.#reserved = bytes
      })
    this.#reserved = bytes
    return undefined
  }
}

/** Its signal is created only if the call has to wait. */
type Caller = Pick<CallHead, 'signal'>
