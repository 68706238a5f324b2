import { limits } from '../base/limits.ts'
import { RpcError } from './rpc-error.ts'

/** How much memory a length that a server names may take before any of its bytes has arrived. */
const firstBytes = 1024 * 1024

/**
 * One message of a known length while it arrives. The buffer grows with the bytes, so a server that names a length and sends
 * nothing costs nothing.
 */
export class ReceivedBody {
  readonly #length: number
  #buffer: Buffer
  #filled = 0

  /** Throws an RpcError if the length is over the limit of a message. */
  constructor(length: number, where: string) {
    if (length > limits.messageBytesMax) throw responseTooLarge(where)
    this.#length = length
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(length, firstBytes))
  }

  get isComplete(): boolean {
    return this.#filled === this.#length
  }

  /** Copies what belongs to the message, and returns how many bytes that was. */
  take(chunk: Buffer): number {
    const taken = Math.min(chunk.length, this.#length - this.#filled)
    if (this.#filled + taken > this.#buffer.length) this.#grow(this.#filled + taken)
    chunk.copy(this.#buffer, this.#filled, 0, taken)
    this.#filled += taken
    return taken
  }

  /** Returns the message, which must be complete. */
  bytes(): Uint8Array {
    return this.#buffer
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.min(this.#length, Math.max(needed, this.#buffer.length * 4)))
    this.#buffer.copy(larger, 0, 0, this.#filled)
    this.#buffer = larger
  }
}

export function responseTooLarge(where: string): RpcError {
  const sentence = `The response of ${where} is larger than the limit of ${limits.messageBytesMax} bytes.`
  return new RpcError('internal', sentence, { kind: 'protocol' })
}
