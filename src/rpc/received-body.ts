import { limits } from '../base/limits.ts'
import { ArrivingBytes } from './arriving-bytes.ts'
import type { ContentCut } from './content-cut.ts'
import { RpcError } from './rpc-error.ts'

/** One message of a known length, for a client, while it arrives. */
export class ReceivedBody {
  readonly #length: number
  readonly #arriving: ArrivingBytes | ContentCut

  /**
   * Throws an RpcError if the length is over the limit of a message.
   *
   * @param cut takes a large content out of the message.
   */
  constructor(length: number, where: string, cut?: ContentCut) {
    if (length > limits.messageBytesMax) throw responseTooLarge(where)
    this.#length = length
    this.#arriving = cut ?? new ArrivingBytes(0)
    this.#arriving.announce(length)
  }

  get isComplete(): boolean {
    return this.#arriving.length === this.#length
  }

  /** Takes what belongs to the message. Returns how many bytes that was, and what to wait for before the next ones. */
  take(chunk: Buffer): { readonly taken: number; readonly wait: Promise<void> | undefined } {
    const taken = Math.min(chunk.length, this.#length - this.#arriving.length)
    return { taken, wait: this.#arriving.add(chunk.subarray(0, taken)) }
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
