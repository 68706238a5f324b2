import type { NumericArray } from '../../message/dtype.ts'
import type { NdArray } from '../../message/nd-array.ts'
import { InconsistentRepliesError } from '../strategy/inconsistent-replies.ts'
import { pairwiseSum, rounding, sumRounding } from './reductions.ts'
import {
  floatType,
  newValues,
  promoted,
  promotedAll,
  type RealType,
  type Tensor,
  tensorOf,
  valuesIn,
} from './tensor.ts'

/**
 * Statistics over the same number of several models: median, trimmed mean, mean of the nearest. numpy partitions such a
 * column with code that depends on the processor; where the order of a sum follows from that, it is here from the
 * smallest to the largest (or nearest to farthest), as with numpy on processors that have AVX2. NaN counts as the
 * largest.
 */

/** One array of several models, one above the other. */
export interface Stack {
  readonly dtype: RealType
  readonly shape: readonly number[]
  readonly fortranOrder: boolean
  readonly rows: readonly NumericArray[]
}

/** Throws an InconsistentRepliesError if shapes differ. */
export function stacked(name: string, arrays: readonly NdArray[]): Stack {
  const tensors = arrays.map((array) => tensorOf(name, array))
  const [first] = tensors as [Tensor]
  const different = tensors.find(({ shape }) => shape.join() !== first.shape.join())
  if (different)
    throw new InconsistentRepliesError(
      `The arrays '${name}' of the replies have different shapes: (${first.shape.join(', ')}) and (${different.shape.join(', ')}).`,
    )
  const fortranOrder = tensors.every((tensor) => tensor.fortranOrder)
  return {
    dtype: promotedAll(tensors.map(({ dtype }) => dtype)),
    shape: first.shape,
    fortranOrder,
    rows: tensors.map((tensor) => valuesIn(tensor, fortranOrder)),
  }
}

/** The middle number, or the mean of the two in the middle; NaN if there is one. */
export function median(stack: Stack): Tensor {
  const count = stack.rows.length
  const middle = count >> 1
  const meanOf = meanOfType(stack.dtype, false)
  return perColumn(stack, stack.fortranOrder, (column) => {
    column.sort()
    if (Number.isNaN(column[count - 1])) return Number.NaN
    return meanOf(column, count % 2 === 1 ? middle : middle - 1, middle + 1)
  })
}

/** The mean without the `cut` smallest and the `cut` largest. */
export function trimmedMean(stack: Stack, cut: number): Tensor {
  const meanOf = meanOfType(stack.dtype, stack.rows[0]?.length === 1)
  return perColumn(stack, stack.fortranOrder, (column) => meanOf(column.sort(), cut, column.length - cut))
}

/** The mean of the `count` numbers nearest to that of the reference; of two as near, the one of the earlier model. */
export function meanOfNearest(stack: Stack, reference: Tensor, count: number): Tensor {
  const rowMajor = { ...stack, rows: stack.rows.map((values) => valuesIn({ ...stack, values }, false)) }
  const references = valuesIn(reference, false)
  const round = rounding(promoted(stack.dtype, reference.dtype))
  const meanOf = meanOfType(stack.dtype, references.length === 1)
  const nearest = new Float64Array(count)
  return perColumn(rowMajor, false, (column, index) => {
    const distances = Array.from(column, (value) => Math.abs(round(value - Number(references[index]))))
    const order = distances.map((_, row) => row).sort((a, b) => compareNanLast(distances[a], distances[b]))
    for (let rank = 0; rank < count; rank++) nearest[rank] = column[order[rank] as number] as number
    return meanOf(nearest, 0, count)
  })
}

/** As numpy sorts: NaN last. */
export function compareNanLast(a = 0, b = 0): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
  return a - b || (a < b ? -1 : Number(a > b))
}

/** Hands each column out in the same array. */
function perColumn(
  { dtype, shape, rows }: Stack,
  fortranOrder: boolean,
  statistic: (column: Float64Array, index: number) => number,
): Tensor {
  const type = floatType(dtype)
  const length = rows[0]?.length ?? 0
  const values = newValues(type, length)
  const column = new Float64Array(rows.length)
  for (let index = 0; index < length; index++) {
    for (let row = 0; row < rows.length; row++) column[row] = Number((rows[row] as NumericArray)[index])
    values[index] = statistic(column, index) as never
  }
  return { dtype: type, shape, fortranOrder, values }
}

/** The mean of a stretch as numpy computes it: halves are summed in single precision. A single column is summed pairwise, others row by row. */
function meanOfType(dtype: RealType, isSingleColumn: boolean) {
  const round = sumRounding(dtype)
  return (column: Float64Array, start: number, end: number): number => {
    if (isSingleColumn) return round((0 + pairwiseSum(column, start, end - start, round)) / (end - start))
    let total = 0
    for (let index = start; index < end; index++) total = round(total + (column[index] as number))
    return round(total / (end - start))
  }
}
