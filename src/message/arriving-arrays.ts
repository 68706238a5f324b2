import { createHash } from 'node:crypto'
import type { ContentSink } from '../base/content-sink.ts'
import { DomainError } from '../base/errors.ts'
import { parseHead } from '../objects/object-format.ts'
import { aligned, parseChunk } from './inflate.ts'

/**
 * Arrays whose chunks arrive in any order. Each chunk is written to its place in its array while it arrives, so that no array
 * is in memory twice. For that, all chunks of an array but the last must have one length, as Flower and Trellis cut them;
 * arrays with other chunks are joined at the end.
 */
export class ArrivingArrays {
  readonly #rooms: ReadonlyMap<string, ArrayRoom>
  /** Where each chunk is needed: equal chunks are one object. */
  readonly #places = new Map<string, Place[]>()
  readonly #arrived = new Set<string>()

  /** @param chunksOf the ids of the chunks of each array in their order, by the id of the array. */
  constructor(chunksOf: ReadonlyMap<string, readonly string[]>) {
    this.#rooms = new Map([...chunksOf].map(([arrayId, { length }]) => [arrayId, new ArrayRoom(length)]))
    for (const [arrayId, chunkIds] of chunksOf) {
      const room = this.#rooms.get(arrayId) as ArrayRoom
      for (const [index, chunkId] of chunkIds.entries()) {
        const places = this.#places.get(chunkId)
        if (places) places.push({ room, index })
        else this.#places.set(chunkId, [{ room, index }])
      }
    }
  }

  /** The ids of all chunks, each once. */
  get chunkIds(): readonly string[] {
    return [...this.#places.keys()]
  }

  /** Whether a chunk has arrived. */
  has(chunkId: string): boolean {
    return this.#arrived.has(chunkId)
  }

  /** Takes a whole chunk. Throws if it is no chunk. */
  put(chunkId: string, object: Uint8Array): void {
    const body = parseChunk(object)
    for (const { room, index } of this.#placesOf(chunkId)) room.put(index, body)
    this.#arrived.add(chunkId)
  }

  /** Returns where the body of a chunk is written to. */
  targetFor(chunkId: string): ChunkTarget {
    const [first, ...others] = this.#placesOf(chunkId)
    return {
      open: (bodyLength) => (first as Place).room.open((first as Place).index, bodyLength),
      onComplete: (body) => {
        for (const { room, index } of others) room.put(index, body)
        this.#arrived.add(chunkId)
      },
    }
  }

  /** Returns the bytes of an array, all of whose chunks have arrived; `undefined` for an id of no array. */
  find(arrayId: string): Uint8Array | undefined {
    return this.#rooms.get(arrayId)?.bytes()
  }

  #placesOf(chunkId: string): readonly Place[] {
    const places = this.#places.get(chunkId)
    if (!places) throw new Error(`Object ${chunkId} is not a chunk of these arrays.`)
    return places
  }
}

interface Place {
  readonly room: ArrayRoom
  readonly index: number
}

/** The memory of one array. */
class ArrayRoom {
  readonly #count: number
  /** The length of each chunk but the last, once one of them has come. */
  #chunkLength = 0
  #memory: Uint8Array | undefined
  #lastLength = 0
  /** Chunks that do not fit there, by their index. */
  readonly #others = new Map<number, Uint8Array>()

  constructor(count: number) {
    this.#count = count
  }

  /** Returns memory for the body of a chunk. */
  open(index: number, length: number): Uint8Array {
    const place = this.#find(index, length)
    if (place) return place
    const other = allocate(length)
    this.#others.set(index, other)
    return other
  }

  put(index: number, body: Uint8Array): void {
    const place = this.#find(index, body.length)
    if (place) place.set(body)
    else this.#others.set(index, body)
  }

  bytes(): Uint8Array {
    // The last chunk may have come before the length of the others was known.
    for (const [index, body] of this.#others) this.put(index, body)
    const [only] = this.#others.values()
    if (this.#count === 1 && only) return aligned(only)
    if (this.#others.size > 0) return this.#joined()
    return this.#inMemory(0, this.#count - 1)
  }

  #find(index: number, length: number): Uint8Array | undefined {
    const isLast = index === this.#count - 1
    if (!this.#memory && !isLast) {
      this.#chunkLength = length
      // What a shorter last chunk leaves over is never touched, so it takes no memory of the machine.
      this.#memory = allocate(length * this.#count)
    }
    if (!this.#memory || (isLast ? length > this.#chunkLength : length !== this.#chunkLength)) return undefined
    if (isLast) this.#lastLength = length
    this.#others.delete(index)
    return this.#memory.subarray(this.#startOf(index), this.#startOf(index) + length)
  }

  #startOf(index: number): number {
    return index * this.#chunkLength
  }

  /** From the first of these chunks to the last one. */
  #inMemory(first: number, last: number): Uint8Array {
    const end = last === this.#count - 1 ? this.#startOf(last) + this.#lastLength : this.#startOf(last + 1)
    return (this.#memory ?? new Uint8Array()).subarray(this.#startOf(first), end)
  }

  #joined(): Uint8Array {
    const indexes = Array.from({ length: this.#count }).keys()
    return Buffer.concat([...indexes.map((index) => this.#others.get(index) ?? this.#inMemory(index, index))])
  }
}

/** Memory that is not cleared: all of it is written to before it is read. */
function allocate(bytes: number): Uint8Array {
  try {
    return Buffer.allocUnsafeSlow(bytes)
  } catch (cause) {
    throw new DomainError('object-malformed', `An array of ${bytes} bytes does not fit into memory.`, { cause })
  }
}

/** Where the body of one chunk is written to. */
export interface ChunkTarget {
  /** Returns memory for the body. */
  open(length: number): Uint8Array
  /** Called when the body is complete. */
  onComplete(body: Uint8Array): void
}

/** The head of a chunk has some 20 bytes. */
const headBytesMax = 1024

/** Writes the body of one chunk to its memory while the chunk arrives, and checks it. */
export class ChunkSink implements ContentSink {
  readonly #id: string
  readonly #length: number
  readonly #target: ChunkTarget
  readonly #sum = createHash('sha256')
  #start: Uint8Array = new Uint8Array()
  #body: Uint8Array | undefined
  #filled = 0

  constructor(id: string, length: number, target: ChunkTarget) {
    this.#id = id
    this.#length = length
    this.#target = target
  }

  write(bytes: Uint8Array): undefined {
    this.#sum.update(bytes)
    const part = this.#body ? bytes : this.#begin(bytes)
    this.#body?.set(part, this.#filled)
    this.#filled += part.length
  }

  finish(): undefined {
    if (this.#sum.digest('hex') !== this.#id || !this.#body)
      throw new DomainError('object-malformed', `Object ${this.#id} arrived with other bytes than its name says.`)
    this.#target.onComplete(this.#body)
  }

  /** Returns what follows the head. */
  #begin(bytes: Uint8Array): Uint8Array {
    this.#start = this.#start.length === 0 ? bytes : Buffer.concat([this.#start, bytes])
    const head = parseHead(this.#start, this.#length)
    if (!head && this.#start.length < Math.min(headBytesMax, this.#length)) return new Uint8Array()
    if (head?.type !== 'ArrayChunk')
      throw new DomainError('object-malformed', `Object ${this.#id} is not the chunk of an array.`)
    this.#body = this.#target.open(this.#length - head.length)
    const body = this.#start.subarray(head.length)
    this.#start = new Uint8Array()
    return body
  }
}
