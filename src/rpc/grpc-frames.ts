import { promisify } from 'node:util'
import { gunzip, inflate } from 'node:zlib'
import { DomainError } from '../base/errors.ts'
import { ArrivingBytes } from './arriving-bytes.ts'
import type { ReceiveOptions } from './call.ts'
import type { ContentCut } from './content-cut.ts'
import { type Encoded, lengthOf } from './encode-in-turns.ts'
import type { Outgoing } from './outgoing.ts'
import type { Taken } from './receive-body.ts'
import { messageTooLarge } from './translate-errors.ts'

/** The pieces of gRPC over HTTP/2: messages with a prefix of 5 bytes, metadata, deadlines, percent-encoded sentences. */

const prefixBytes = 5

/** A message with its prefix; a small message becomes one part. */
export function framed(message: Outgoing): Outgoing {
  const length = lengthOf(message)
  const prefix = Buffer.allocUnsafe(prefixBytes)
  prefix[0] = 0
  prefix.writeUInt32BE(length, 1)
  return length <= joinedBytesMax && isInMemory(message) ? [Buffer.concat([prefix, ...message])] : [prefix, ...message]
}

function isInMemory(parts: Outgoing): parts is Encoded {
  return parts.every((part) => part instanceof Uint8Array)
}

const joinedBytesMax = 16 * 1024

/** Cuts one message out of the chunks of a stream. Its memory is that of the bytes that have arrived. */
export class MessageReader {
  readonly #bytesMax: number
  readonly #options: ReceiveOptions
  readonly #prefix = Buffer.alloc(prefixBytes)
  #prefixFilled = 0
  #body: ArrivingBytes | ContentCut | undefined
  #messageBytes = 0

  /** @param options for messages that are not compressed. */
  constructor(bytesMax: number, options: ReceiveOptions = {}) {
    this.#bytesMax = bytesMax
    this.#options = options
  }

  /** Throws `message-too-large` as soon as the prefix says so, and what the judge throws. */
  take(chunk: Buffer): Taken | Promise<Taken> {
    const taken = this.#body ? 0 : this.#takePrefix(chunk)
    const body = this.#body
    if (!body) return 'more'
    if (body.length + chunk.length - taken > this.#messageBytes)
      throw new DomainError('invalid-request', 'Too many messages.')
    const wait = taken === chunk.length ? undefined : body.add(chunk.subarray(taken))
    const now = (): Taken => (this.#isComplete ? 'done' : 'more')
    return wait ? wait.then(now) : now()
  }

  #takePrefix(chunk: Buffer): number {
    const taken = chunk.copy(this.#prefix, this.#prefixFilled)
    this.#prefixFilled += taken
    if (this.#prefixFilled < prefixBytes) return taken
    this.#messageBytes = this.#prefix.readUInt32BE(1)
    if (this.#messageBytes > this.#bytesMax) throw messageTooLarge(this.#bytesMax)
    const { cut, judge } = this.#isCompressed ? {} : this.#options
    this.#body = cut ?? new ArrivingBytes(0)
    this.#body.announce(this.#messageBytes, judge)
    return taken
  }

  /** The message, once its stream has ended or `take` has returned `done`. */
  async message(encoding: string | undefined): Promise<Uint8Array> {
    if (!this.#body || !this.#isComplete)
      throw new DomainError('invalid-request', 'The stream ended before its message was complete.')
    const bytes = this.#body.bytes()
    return this.#isCompressed ? decompress(bytes, encoding, this.#bytesMax) : bytes
  }

  get #isCompressed(): boolean {
    return this.#prefix[0] !== 0
  }

  get #isComplete(): boolean {
    return this.#body?.length === this.#messageBytes
  }
}

const decompressors = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const

export const acceptedEncodings = ['identity', ...Object.keys(decompressors)].join(',')

export function isKnownEncoding(encoding: string | undefined): boolean {
  return encoding === undefined || encoding === 'identity' || Object.hasOwn(decompressors, encoding)
}

async function decompress(bytes: Uint8Array, encoding: string | undefined, bytesMax: number): Promise<Uint8Array> {
  if (encoding !== 'gzip' && encoding !== 'deflate')
    throw new DomainError('invalid-request', 'A compressed message without its encoding.')
  try {
    return await decompressors[encoding](bytes, { maxOutputLength: bytesMax })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw messageTooLarge(bytesMax)
    throw new DomainError('invalid-request', `The message is not ${encoding}.`, { cause })
  }
}

/** Reads the names and values that HTTP/2 sent, in order: Node's object of headers joins values of one name. */
export class Metadata {
  readonly #raw: readonly string[]

  constructor(rawHeaders: readonly string[]) {
    this.#raw = rawHeaders
  }

  texts(name: string): readonly string[] {
    const values: string[] = []
    for (let index = 0; index + 1 < this.#raw.length; index += 2)
      if (this.#raw[index] === name) values.push(this.#raw[index + 1] as string)
    return values
  }

  /** Several values may share a line, separated by commas. */
  binaries(name: string): readonly Uint8Array[] {
    return this.texts(`${name}-bin`).flatMap((line) => line.split(',').map((value) => Buffer.from(value, 'base64')))
  }
}

const units: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }

/** The deadline of a call in milliseconds from now; `undefined` without one, `NaN` if it makes no sense. */
export function timeoutMsOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const match = /^(\d{1,8})([HMSmun])$/.exec(value)
  return match ? Number(match[1]) * (units[match[2] as string] as number) : Number.NaN
}

/** The status message as gRPC wants it: printable ASCII, the rest percent-encoded, and short enough for any client. */
export function grpcMessage(sentence: string): string {
  return sentence
    .slice(0, sentenceCharactersMax)
    .toWellFormed()
    .replace(/[^\x20-\x7e]+|%/g, encodeURIComponent)
}

/** In the worst case three bytes each, percent-encoded: Flower's clients take headers of 8 KiB. */
const sentenceCharactersMax = 600
