import { type DType, dtypes, entriesPerNumber, type NumericArray } from '../../message/dtype.ts'
import { toColumnMajor } from '../../message/memory-order.ts'
import { NdArray, type NdArrayDraft } from '../../message/nd-array.ts'
import type { ArrayPiece } from '../held-reply.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { addProduct, productType, type SumArray, type SumType, widerType } from './product-sum.ts'
import { roomForSum } from './simd-sums.ts'

/** A piece below this size is collected with the rest of its array: there is little to gain. */
const streamedBytesMin = 64 * 1024

type Header = ReturnType<NdArray['header']>

/** An array of which the pieces arrive: added to the sum at once, or collected first. */
type Arriving =
  | { readonly kind: 'collected'; readonly pieces: Uint8Array[] }
  | { readonly kind: 'streamed'; readonly header: Header; next: number; rest: Uint8Array }

interface SumLayout {
  readonly type: SumType
  readonly shape: readonly number[]
  readonly fortranOrder: boolean
}

/** The weighted sum of the arrays of one name. */
export class ArraySum {
  readonly #name: string
  #sum: SumLayout | undefined
  #draft: NdArrayDraft<SumType> | undefined
  #isFirst = true
  #arriving: Arriving = { kind: 'collected', pieces: [] }

  constructor(name: string) {
    this.#name = name
  }

  get array(): NdArray {
    return (this.#draft as NdArrayDraft<SumType>).array
  }

  add(array: NdArray, factor: number): void {
    const { dtype } = this.#begin(array.header())
    const values = this.#sum?.fortranOrder ? columnMajor(array) : array.values()
    this.#addTo(this.#values(), { dtype, values }, factor)
    this.#isFirst = false
  }

  /** Adds one piece of the file of an array. Nothing refers to its bytes afterwards. */
  addPiece(piece: Pick<ArrayPiece, 'stype' | 'isFirst' | 'isLast'>, bytes: Uint8Array, factor: number): void {
    if (piece.isFirst) this.#arriving = this.#open(piece, bytes)
    const arriving = this.#arriving
    if (arriving.kind === 'collected') {
      arriving.pieces.push(piece.isLast ? bytes : new Uint8Array(bytes))
      if (!piece.isLast) return
      const [only] = arriving.pieces
      const data = arriving.pieces.length === 1 ? (only as Uint8Array) : Buffer.concat(arriving.pieces)
      this.add(arrayOf(piece, data), factor)
    } else {
      const { dataOffset } = arriving.header
      this.#addStreamed(arriving, piece.isFirst ? bytes.subarray(dataOffset) : bytes, factor)
      if (!piece.isLast) return
      if (arriving.next < this.#values().length)
        throw new TypeError('The array holds fewer bytes than its shape needs.')
      this.#isFirst = false
    }
    this.#arriving = { kind: 'collected', pieces: [] }
  }

  /** What lies as the sum lies can be added before the rest of it is there. */
  #open({ stype, isLast }: Pick<ArrayPiece, 'stype' | 'isLast'>, first: Uint8Array): Arriving {
    if (isLast || first.length < streamedBytesMin) return { kind: 'collected', pieces: [] }
    const header = this.#begin(arrayOf({ stype }, first).header())
    const { type, fortranOrder } = this.#sum as SumLayout
    const liesAlike =
      !header.bigEndian &&
      header.fortranOrder === fortranOrder &&
      entriesPerNumber(header.dtype) === entriesPerNumber(type)
    return liesAlike ? { kind: 'streamed', header, next: 0, rest: new Uint8Array() } : { kind: 'collected', pieces: [] }
  }

  #addStreamed(arriving: Extract<Arriving, { kind: 'streamed' }>, bytes: Uint8Array, factor: number): void {
    const { dtype } = arriving.header
    const { view } = dtypes[dtype]
    const entries = entriesPerNumber(dtype)
    const size = view.BYTES_PER_ELEMENT * entries
    const sum = this.#values()
    const all = arriving.rest.length === 0 ? bytes : Buffer.concat([arriving.rest, bytes])
    const count = Math.min(Math.floor(all.length / size) * entries, sum.length - arriving.next)
    const used = count * view.BYTES_PER_ELEMENT
    const part = all.subarray(0, used)
    const aligned = part.byteOffset % view.BYTES_PER_ELEMENT === 0 ? part : new Uint8Array(part)
    const values = new view(aligned.buffer, aligned.byteOffset, count)
    this.#addTo(sum.subarray(arriving.next, arriving.next + count), { dtype, values }, factor)
    arriving.next += count
    // A number may lie across two pieces.
    arriving.rest = arriving.next === sum.length ? new Uint8Array() : new Uint8Array(all.subarray(used))
  }

  /** Makes the sum for the first array, and compares the others with it. */
  #begin(header: Header): Header {
    const { dtype, shape, fortranOrder } = header
    if (!this.#sum) {
      this.#sum = { type: productType(dtype), shape, fortranOrder }
      this.#draft = NdArray.draft(this.#sum.type, shape, fortranOrder, roomForSum)
    }
    const sum = this.#sum
    if (shape.join() !== sum.shape.join())
      throw new InconsistentRepliesError(
        `The arrays '${this.#name}' of the replies have different shapes: (${sum.shape.join(', ')}) and (${shape.join(', ')}).`,
      )
    if (shape.length === 0) this.#widen(productType(dtype))
    return header
  }

  /** In numpy, single numbers are added to a new number, which has the wider type of both; other sums keep their type. */
  #widen(type: SumType): void {
    const sum = this.#sum as SumLayout
    const wider = widerType(sum.type, type)
    if (wider === sum.type) return
    const [value] = this.#values()
    this.#sum = { ...sum, type: wider }
    this.#draft = NdArray.draft(wider, sum.shape, false)
    this.#values()[0] = value as number
  }

  #values(): SumArray {
    return (this.#draft as NdArrayDraft<SumType>).values
  }

  #addTo(sum: SumArray, part: { dtype: DType; values: NumericArray }, factor: number): void {
    const { type: sumType } = this.#sum as SumLayout
    addProduct({ sum, sumType, part, factor, isFirst: this.#isFirst, name: this.#name })
  }
}

function arrayOf({ stype }: Pick<ArrayPiece, 'stype'>, data: Uint8Array): NdArray {
  return new NdArray({ dtype: '', shape: [], stype, data })
}

function columnMajor(array: NdArray): NumericArray {
  const { values, shape, fortranOrder, dtype } = array.stored()
  return fortranOrder ? values : toColumnMajor(values, shape, entriesPerNumber(dtype))
}
