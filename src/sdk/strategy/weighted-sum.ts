import { entriesPerNumber } from '../../message/dtype.ts'
import { toRowMajor } from '../../message/memory-order.ts'
import { NdArray, type NdArrayDraft } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { addProduct, productType, type SumType } from './product-sum.ts'

/**
 * A weighted mean in the making, which holds one sum however many models are added. With the models in the order of
 * their nodes, and their shares, it has the bits of Flower's. If types differ between models, the first one's is kept.
 * Arrays that all come in column-major order stay so.
 *
 * @example
 * const sum = new WeightedSum()
 * for await (const { arrays, share } of replies.weightedBy('num-examples')) sum.add(arrays, share)
 * return { arrays: sum.mean() }
 */
export class WeightedSum {
  #sums: ReadonlyMap<string, ArraySum> | undefined

  /**
   * Adds a model times its share: its weight divided by the sum of all weights. Its arrays have the names of the first
   * model's. Throws an InconsistentRepliesError if shapes differ.
   */
  add(arrays: ArrayRecord, share: number): void {
    this.#sums ??= new Map([...arrays].map(([name, first]) => [name, new ArraySum(name, first)] as const))
    for (const [name, sum] of this.#sums) sum.add(arrays.getArray(name), share)
  }

  /** The sum: the mean, if the shares add up to 1. Nothing can be added afterwards. */
  mean(): ArrayRecord {
    return new ArrayRecord([...(this.#sums ?? [])].map(([name, sum]) => [name, sum.draft.array] as const))
  }
}

class ArraySum {
  readonly #name: string
  readonly #sumType: SumType
  readonly #shape: readonly number[]
  #fortranOrder: boolean
  #isFirst = true
  draft: NdArrayDraft<SumType>

  constructor(name: string, first: NdArray) {
    const { dtype, shape, fortranOrder } = first.layout()
    this.#name = name
    this.#sumType = productType(dtype)
    this.#shape = shape
    this.#fortranOrder = fortranOrder
    this.draft = NdArray.draft(this.#sumType, shape, fortranOrder)
  }

  add(array: NdArray, factor: number): void {
    const { shape, fortranOrder, dtype } = array.layout()
    if (shape.join() !== this.#shape.join())
      throw new InconsistentRepliesError(
        `The arrays '${this.#name}' of the replies have different shapes: (${this.#shape.join(', ')}) and (${shape.join(', ')}).`,
      )
    if (this.#fortranOrder && !fortranOrder) this.#becomeRowMajor()
    const { values } = this.#fortranOrder ? array.stored() : { values: array.values() }
    const sum = this.draft.values
    addProduct({
      sum,
      sumType: this.#sumType,
      part: { dtype, values },
      factor,
      isFirst: this.#isFirst,
      name: this.#name,
    })
    this.#isFirst = false
  }

  #becomeRowMajor(): void {
    const columnMajor = this.draft.values
    this.#fortranOrder = false
    this.draft = NdArray.draft(this.#sumType, this.#shape, false)
    const rowMajor = toRowMajor(columnMajor, this.#shape, entriesPerNumber(this.#sumType))
    ;(this.draft.values.set as (source: typeof rowMajor) => void)(rowMajor)
  }
}
