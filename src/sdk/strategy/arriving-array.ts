import { dtypes, entriesPerNumber } from '../../message/dtype.ts'
import { NdArray } from '../../message/nd-array.ts'
import type { Part } from './product-sum.ts'

/** A piece of the file of an array. */
export interface ArrivedPiece {
  readonly bytes: Uint8Array
  readonly isLast: boolean
}

/** An array that arrives in pieces, and the factor that it is multiplied by. */
export interface ArrivingArray {
  readonly stype: string
  readonly factor: number
  /** Returns the next piece. Its bytes are valid until this is called again. */
  next(): Promise<ArrivedPiece>
}

export type ArrayHeader = ReturnType<NdArray['header']>

/** A first piece that is shorter may not hold the whole header of its file. */
const headerBytesMax = 64 * 1024

/** The numbers of an array that have arrived and were not taken yet. */
export class ArrivedNumbers {
  readonly header: ArrayHeader
  readonly #array: ArrivingArray
  #bytes: Uint8Array
  #isLast: boolean

  private constructor(array: ArrivingArray, { bytes, isLast }: ArrivedPiece) {
    this.header = arrayOf(array, bytes).header()
    this.#array = array
    this.#bytes = bytes.subarray(this.header.dataOffset)
    this.#isLast = isLast
  }

  /** Returns `undefined` if the piece may be too short for the header. Throws if it cannot be read. */
  static open(array: ArrivingArray, first: ArrivedPiece): ArrivedNumbers | undefined {
    return first.isLast || first.bytes.length >= headerBytesMax ? new ArrivedNumbers(array, first) : undefined
  }

  /** How many entries of a typed array are here. */
  get count(): number {
    const { dtype } = this.header
    return Math.floor(this.#bytes.length / this.#numberBytes) * entriesPerNumber(dtype)
  }

  /** Waits for at least one number. Throws a TypeError if none is left. */
  async fill(): Promise<void> {
    while (this.count === 0) {
      if (this.#isLast) throw new TypeError('The array holds fewer bytes than its shape needs.')
      // A number may lie across two pieces.
      const rest = new Uint8Array(this.#bytes)
      const { bytes, isLast } = await this.#array.next()
      this.#bytes = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
      this.#isLast = isLast
    }
  }

  /** Returns so many entries, which are here. */
  take(count: number): Part {
    const { dtype } = this.header
    const { view } = dtypes[dtype]
    const bytes = this.#bytes.subarray(0, count * view.BYTES_PER_ELEMENT)
    this.#bytes = this.#bytes.subarray(bytes.length)
    const aligned = bytes.byteOffset % view.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes)
    const values = new view(aligned.buffer, aligned.byteOffset, count)
    return { dtype, values, factor: this.#array.factor }
  }

  /** Skips what follows the numbers. */
  async end(): Promise<void> {
    while (!this.#isLast) this.#isLast = (await this.#array.next()).isLast
  }

  get #numberBytes(): number {
    const { dtype } = this.header
    return dtypes[dtype].view.BYTES_PER_ELEMENT * entriesPerNumber(dtype)
  }
}

/** Returns the whole array. */
export async function collected(array: ArrivingArray, first: ArrivedPiece): Promise<NdArray> {
  if (first.isLast) return arrayOf(array, first.bytes)
  const pieces: Uint8Array[] = []
  for (let piece = first; ; piece = await array.next()) {
    pieces.push(piece.isLast ? piece.bytes : new Uint8Array(piece.bytes))
    if (piece.isLast) return arrayOf(array, Buffer.concat(pieces))
  }
}

function arrayOf({ stype }: Pick<ArrivingArray, 'stype'>, data: Uint8Array): NdArray {
  return new NdArray({ dtype: '', shape: [], stype, data })
}
