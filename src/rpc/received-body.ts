import { limits } from '../base/limits.ts'
import { ArrivingBytes } from './arriving-bytes.ts'
import { RpcError } from './rpc-error.ts'

/** One message of a known length, for a client, while it arrives. */
export class ReceivedBody {
  readonly #length: number
  readonly #arriving: ArrivingBytes

  /** Throws an RpcError if the length is over the limit of a message. */
  constructor(length: number, where: string) {
    if (length > limits.messageBytesMax) throw responseTooLarge(where)
    this.#length = length
    this.#arriving = new ArrivingBytes(length)
  }

  get isComplete(): boolean {
    return this.#arriving.length === this.#length
  }

  /** Takes what belongs to the message, and returns how many bytes that was. */
  take(chunk: Buffer): number {
    const taken = Math.min(chunk.length, this.#length - this.#arriving.length)
    this.#arriving.add(chunk.subarray(0, taken))
    return taken
  }

  /** Returns the message, which must be complete. */
  bytes(): Uint8Array {
    return this.#arriving.bytes()
  }
}

export function responseTooLarge(where: string): RpcError {
  const sentence = `The response of ${where} is larger than the limit of ${limits.messageBytesMax} bytes.`
  return new RpcError('internal', sentence, { kind: 'protocol' })
}
