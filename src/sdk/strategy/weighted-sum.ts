import type { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'
import type { ArrayPiece } from '../held-reply.ts'
import { ArraySum } from './array-sum.ts'

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
    this.#names ??= [...arrays.keys()]
    for (const name of this.#names) this.#sumOf(name).add(arrays.getArray(name), share)
  }

  /** @internal The pieces of an array come one after the other, and whole models in the order of their nodes. */
  addPiece(piece: Pick<ArrayPiece, 'name' | 'stype' | 'isFirst' | 'isLast'>, bytes: Uint8Array, share: number): void {
    this.#sumOf(piece.name).addPiece(piece, bytes, share)
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
