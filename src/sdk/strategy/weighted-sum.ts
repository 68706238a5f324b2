import type { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'
import { ArraySum } from './array-sum.ts'
import type { ArrivingArray } from './arriving-array.ts'

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
  readonly #sums = new Map<string, ArraySum>()
  #names: readonly string[] | undefined

  /**
   * Adds a model times its share: its weight divided by the sum of all weights. Its arrays have the names of the first
   * model's. Throws an InconsistentRepliesError if shapes differ.
   */
  add(arrays: ArrayRecord, share: number): void {
    this.addAll([{ arrays, share }])
  }

  /** @internal The names of the first model that was added whole. */
  get names(): readonly string[] | undefined {
    return this.#names
  }

  /** @internal Adds models in their order; large ones in step, which is faster than one after the other. */
  addAll(models: readonly { readonly arrays: ArrayRecord; readonly share: number }[]): void {
    this.#names ??= [...(models[0]?.arrays.keys() ?? [])]
    for (const name of this.#names)
      this.#sumOf(name).add(models.map(({ arrays, share }) => ({ array: arrays.getArray(name), factor: share })))
  }

  /** @internal Adds the arrays of that name of several models while they arrive. */
  addArriving(name: string, arrays: readonly ArrivingArray[]): Promise<void> {
    return this.#sumOf(name).addArriving(arrays)
  }

  /** The sum: the mean, if the shares add up to 1. Nothing can be added afterwards. */
  mean(): ArrayRecord {
    return new ArrayRecord([...this.#sums].map(([name, sum]): [string, NdArray] => [name, sum.array]))
  }

  #sumOf(name: string): ArraySum {
    const sum = this.#sums.get(name) ?? new ArraySum(name)
    this.#sums.set(name, sum)
    return sum
  }
}
