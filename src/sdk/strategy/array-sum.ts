import { entriesPerNumber, type NumericArray } from '../../message/dtype.ts'
import { toColumnMajor } from '../../message/memory-order.ts'
import { NdArray, type NdArrayDraft } from '../../message/nd-array.ts'
import { type ArrayHeader, ArrivedNumbers, type ArrivedPiece, type ArrivingArray, collected } from './arriving-array.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { addProducts, type Part, productType, type SumArray, type SumType, widerType } from './product-sum.ts'

interface SumLayout {
  readonly type: SumType
  readonly shape: readonly number[]
  readonly fortranOrder: boolean
}

/** An array, and the factor that it is multiplied by. */
export interface WeightedArray {
  readonly array: NdArray
  readonly factor: number
}

/** The weighted sum of the arrays of one name. */
export class ArraySum {
  readonly #name: string
  #sum: SumLayout | undefined
  #draft: NdArrayDraft<SumType> | undefined
  #isFirst = true

  constructor(name: string) {
    this.#name = name
  }

  get array(): NdArray {
    return (this.#draft as NdArrayDraft<SumType>).array
  }

  /** Adds arrays in their order: in step, if all of them lie as the sum lies. */
  add(arrays: readonly WeightedArray[]): void {
    const inStep = arrays.length > 1 && this.#beginInStep(arrays.map(({ array }) => array.header()))
    if (inStep) this.#addTo(this.#values(), arrays.map(partOf))
    else for (const one of arrays) this.#addOne(one)
    this.#isFirst = false
  }

  /**
   * Adds arrays that arrive in pieces, in their order. If all of them lie as the sum lies, they are added in step: a few pieces
   * of each are in memory. Otherwise each is collected first.
   */
  async addArriving(arrays: readonly ArrivingArray[]): Promise<void> {
    const firsts = await Promise.all(arrays.map((array) => array.next()))
    const opened = firsts.map((first, index) => ArrivedNumbers.open(arrays[index] as ArrivingArray, first))
    const all = opened.filter((numbers) => numbers !== undefined)
    if (all.length === arrays.length && this.#beginInStep(all.map(({ header }) => header))) {
      await this.#addInStep(all)
      return
    }
    for (const [index, array] of arrays.entries())
      this.#addOne({ array: await collected(array, firsts[index] as ArrivedPiece), factor: array.factor })
  }

  async #addInStep(all: readonly ArrivedNumbers[]): Promise<void> {
    const sum = this.#values()
    for (let at = 0; at < sum.length; ) {
      await Promise.all(all.map((numbers) => numbers.fill()))
      const count = Math.min(sum.length - at, ...all.map((numbers) => numbers.count))
      const parts = all.map((numbers) => numbers.take(count))
      this.#addTo(sum.subarray(at, at + count), parts)
      at += count
    }
    await Promise.all(all.map((numbers) => numbers.end()))
    this.#isFirst = false
  }

  #addOne({ array, factor }: WeightedArray): void {
    const { dtype } = this.#begin(array.header())
    const values = this.#sum?.fortranOrder ? columnMajor(array) : array.values()
    this.#addTo(this.#values(), [{ dtype, values, factor }])
    this.#isFirst = false
  }

  /**
   * Returns whether arrays can be added in step: each number of all of them before the next number. Their order matters to the
   * sum, so it is the same as that of one array after the other. Single numbers may change the type of the sum in between.
   */
  #beginInStep(headers: readonly ArrayHeader[]): boolean {
    const [first] = headers
    if (!first) return false
    this.#begin(first)
    const { type, shape, fortranOrder } = this.#sum as SumLayout
    const liesAlike = (header: ArrayHeader): boolean =>
      !header.bigEndian &&
      header.fortranOrder === fortranOrder &&
      entriesPerNumber(header.dtype) === entriesPerNumber(type)
    if (shape.length === 0 || !headers.every(liesAlike)) return false
    for (const header of headers) this.#begin(header)
    return true
  }

  /** Makes the sum for the first array, and compares the others with it. */
  #begin(header: ArrayHeader): ArrayHeader {
    const { dtype, shape, fortranOrder } = header
    if (!this.#sum) {
      this.#sum = { type: productType(dtype), shape, fortranOrder }
      this.#draft = NdArray.draft(this.#sum.type, shape, fortranOrder)
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

  #addTo(sum: SumArray, parts: readonly Part[]): void {
    const { type: sumType } = this.#sum as SumLayout
    addProducts({ sum, sumType, parts, isFirst: this.#isFirst, name: this.#name })
  }
}

/** The numbers as they lie in the file. */
function partOf({ array, factor }: WeightedArray): Part {
  const { dtype, values } = array.stored()
  return { dtype, values, factor }
}

function columnMajor(array: NdArray): NumericArray {
  const { values, shape, fortranOrder, dtype } = array.stored()
  return fortranOrder ? values : toColumnMajor(values, shape, entriesPerNumber(dtype))
}
