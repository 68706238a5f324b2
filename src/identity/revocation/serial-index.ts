import { randomBytes } from 'node:crypto'
import { takeTurns } from '../../base/turns.ts'

/**
 * Finds serial numbers in a list as its CA wrote it: a table of places in the bytes, four to eight bytes for each number
 * instead of a string and a place in a Map. A list of a million entries is no burden to the garbage collector then.
 */
export class SerialIndex {
  readonly #bytes: Uint8Array
  /** Two numbers for each: where a serial number begins and ends. */
  readonly #places: Uint32Array
  /** By hash: the number of a place plus one; 0 is free. */
  readonly #table: Uint32Array

  private constructor(bytes: Uint8Array, places: Uint32Array, table: Uint32Array) {
    this.#bytes = bytes
    this.#places = places
    this.#table = table
  }

  /**
   * Lets other work go on meanwhile. Throws an Error where the numbers were chosen to make the search slow.
   *
   * @param places pairs of where a serial number begins and ends in `bytes`.
   */
  static async of(bytes: Uint8Array, places: Uint32Array): Promise<SerialIndex> {
    const table = new Uint32Array(2 ** Math.ceil(Math.log2(Math.max(places.length, 2))))
    const index = new SerialIndex(bytes, places, table)
    const turn = takeTurns()
    for (let place = 0; place < places.length / 2; place++) {
      index.#add(place)
      if (place % 256 === 0) await turn()
    }
    return index
  }

  /** Of all entries; a number may be there twice. */
  get size(): number {
    return this.#places.length / 2
  }

  /** @param serial bytes of the number, big-endian; zeros in front do not matter. */
  has(serial: Uint8Array): boolean {
    return this.#table[this.#slotOf(serial, 0, serial.length)] !== 0
  }

  /** Hexadecimal as it is written in the list, in its order. */
  *[Symbol.iterator](): Generator<string> {
    const bytes = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length)
    for (let at = 0; at < this.#places.length; at += 2)
      yield bytes.toString('hex', this.#places[at], this.#places[at + 1])
  }

  #add(place: number): void {
    const slot = this.#slotOf(this.#bytes, this.#places[place * 2] ?? 0, this.#places[place * 2 + 1] ?? 0, stepsMax)
    if (this.#table[slot] === 0) this.#table[slot] = place + 1
  }

  /** Where this number is in the table, or where it would be. */
  #slotOf(bytes: Uint8Array, from: number, to: number, steps = this.#table.length): number {
    const first = withoutZeros(bytes, from, to)
    const mask = this.#table.length - 1
    const start = hash(bytes, first, to)
    for (let step = 0; step < steps; step++) {
      const slot = (start + step) & mask
      const place = this.#table[slot] ?? 0
      if (place === 0 || this.#isAt(place - 1, bytes, first, to)) return slot
    }
    throw new Error('its serial numbers were chosen to make it slow')
  }

  #isAt(place: number, bytes: Uint8Array, from: number, to: number): boolean {
    const end = this.#places[place * 2 + 1] ?? 0
    const first = withoutZeros(this.#bytes, this.#places[place * 2] ?? 0, end)
    if (end - first !== to - from) return false
    for (let at = 0; at < to - from; at++) {
      if (this.#bytes[first + at] !== bytes[from + at]) return false
    }
    return true
  }
}

/** Half of the table is free: numbers that were not chosen to collide find their place in a few steps. */
const stepsMax = 1000
const seed = randomBytes(4).readUInt32LE()

function withoutZeros(bytes: Uint8Array, from: number, to: number): number {
  let at = from
  while (at < to && bytes[at] === 0) at++
  return at
}

/** FNV-1a, mixed at the end as MurmurHash3 does: CAs that count give numbers that differ in their last bits. */
function hash(bytes: Uint8Array, from: number, to: number): number {
  let value = seed
  for (let at = from; at < to; at++) value = Math.imul(value ^ (bytes[at] as number), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
