import type { ContentSink } from '../base/content-sink.ts'
import { DomainError } from '../base/errors.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { limits } from '../base/limits.ts'
import { ArrivingBytes, type JudgeArrived } from './arriving-bytes.ts'

/** Of a message with an object, which has five. One with more is kept for the scan of the body, which rejects far more. */
const fieldsMax = 100

/** What is done with a large content: given to a sink, e.g. a file, thrown away, or kept in memory with the other fields. */
export type ContentPlace = ContentSink | 'discard' | 'keep'

/** Called before a large content is taken, with the fields in front of it and its length. */
export type PlaceContent = (fieldsBefore: Uint8Array, length: number) => Promise<ContentPlace>

/**
 * Separates a large content from the other fields of a message while the message arrives, so that the content is never whole
 * in memory. Reads no more than tags and lengths: the fields that are left are judged and decoded like any message.
 */
export class ContentCut implements AsyncDisposable {
  readonly #field: number
  readonly #place: PlaceContent
  #rest = new ArrivingBytes(0)
  #announced = 0
  #judge: JudgeArrived | undefined
  #length = 0
  /** Where the next field of `rest` begins. */
  #next = 0
  #fields = 0
  /** How much of the content is still to come. */
  #left = 0
  #placing: Promise<ContentPlace> | undefined
  #cut: Exclude<ContentPlace, 'keep'> | undefined
  #keepsAll = false
  #isOver = false

  /** @param field number of the field with the content. */
  constructor(field: number, place: PlaceContent) {
    this.#field = field
    this.#place = place
  }

  /** How many bytes of the message have arrived. */
  get length(): number {
    return this.#length
  }

  /** The content, if it was written to a file. */
  get file(): IncomingFile | undefined {
    return this.#cut instanceof IncomingFile ? this.#cut : undefined
  }

  /** Whether a content was thrown away. */
  get isDiscarded(): boolean {
    return this.#cut === 'discard'
  }

  /** Says how many bytes the message has. `add` throws what `judge` throws of the fields that are left in the message. */
  announce(bytes: number, judge?: JudgeArrived): void {
    this.#announced = bytes
    this.#judge = judge
    this.#rest.announce(bytes, judge)
  }

  /** Takes bytes of the message. The next ones may come when the returned promise has resolved. */
  add(chunk: Buffer): Promise<void> | undefined {
    this.#length += chunk.length
    return this.#take(chunk)
  }

  /** The message without its large content. */
  bytes(): Uint8Array {
    if (this.#left > 0) throw new DomainError('invalid-payload', 'The body has a field that ends after its message.')
    return this.#rest.bytes()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    // The file may be about to be created.
    const place = await this.#placing?.catch(() => undefined)
    if (place instanceof IncomingFile) await place[Symbol.asyncDispose]()
  }

  #take(chunk: Buffer): Promise<void> | undefined {
    if (chunk.length === 0) return undefined
    if (this.#left > 0) return this.#takeContent(chunk)
    this.#rest.add(chunk)
    const found = this.#keepsAll ? undefined : this.#findContent()
    return found && this.#begin(found)
  }

  #takeContent(chunk: Buffer): Promise<void> | undefined {
    const content = chunk.subarray(0, this.#left)
    this.#left -= content.length
    const written = this.#sink?.write(content)
    return this.#left > 0 ? written : this.#endContent(written, chunk.subarray(content.length))
  }

  async #endContent(written: Promise<void> | undefined, after: Buffer): Promise<void> {
    await written
    await this.#sink?.finish()
    await this.#take(after)
  }

  get #sink(): ContentSink | undefined {
    return this.#cut === 'discard' ? undefined : this.#cut
  }

  async #begin({ field, start, length }: FoundContent): Promise<void> {
    if (this.#cut) throw new DomainError('invalid-payload', 'The body has more than one content.')
    const arrived = this.#rest.bytes()
    this.#placing = this.#place(arrived.subarray(0, field), length)
    const place = await this.#placing
    if (this.#isOver) return
    if (place === 'keep') {
      this.#keepsAll = true
      return
    }
    this.#cut = place
    this.#left = length
    const rest = new ArrivingBytes(0)
    rest.announce(Math.max(field, this.#announced - length), this.#judge)
    // A copy: the chunk that it is part of can go.
    if (field > 0) rest.add(Buffer.from(arrived.subarray(0, field)))
    this.#rest = rest
    this.#next = field
    await this.#take(arrived.subarray(start))
  }

  /** Reads field after field until the bytes end. */
  #findContent(): FoundContent | undefined {
    const bytes = this.#rest.bytes()
    while (this.#next < bytes.length) {
      const tag = varintAt(bytes, this.#next)
      const value = tag && tag.value % 8 === 2 ? varintAt(bytes, tag.end) : undefined
      if (!tag) break
      this.#fields += 1
      if (this.#fields > fieldsMax) {
        this.#keepsAll = true
        return undefined
      }
      switch (tag.value % 8) {
        case 0: {
          const number = varintAt(bytes, tag.end)
          if (!number) return undefined
          this.#next = number.end
          break
        }
        case 1:
          this.#next = tag.end + 8
          break
        case 5:
          this.#next = tag.end + 4
          break
        case 2:
          if (!value) return undefined
          if (tag.value >>> 3 === this.#field && value.value > limits.objectInMemoryBytesMax)
            return { field: this.#next, start: value.end, length: value.value }
          this.#next = value.end + value.value
          break
        default:
          // No message of Flower has such a field: the scan of the body rejects it, or skips it.
          this.#keepsAll = true
          return undefined
      }
    }
    return undefined
  }
}

interface FoundContent {
  /** Where the field begins, and where its content does. */
  readonly field: number
  readonly start: number
  readonly length: number
}

/** The low 32 bits of a number, and its end; `undefined` if not all of it is here. A number that is too long counts as 0. */
function varintAt(bytes: Uint8Array, start: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0
  for (let index = 0; index < 10; index++) {
    const byte = bytes[start + index]
    if (byte === undefined) return undefined
    if (index < 5) value |= (byte & 0x7f) << (7 * index)
    if (byte < 0x80) return { value: value >>> 0, end: start + index + 1 }
  }
  return { value: 0, end: start + 10 }
}
