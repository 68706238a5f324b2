import type { NumericArray } from '../../message/dtype.ts'
import type { ArrayRecord } from '../../message/records.ts'
import { InconsistentRepliesError } from '../strategy/inconsistent-replies.ts'
import { pairwiseSum, rounding, sumRounding } from './reductions.ts'
import { floatType, newValues, promotedAll, type RealType, tensorOf, valuesIn } from './tensor.ts'

/**
 * Squared distances between models as Flower computes them: |x|² + |y|² - 2xy, in the type that all arrays of all models
 * have in common, so that distances which are small beside the models cancel in float32. numpy leaves the products to the
 * BLAS library, whose order of additions depends on the processor; here they are sums in double precision, rounded once.
 */

export interface Distances {
  /** A row a model; the distance of a model from itself need not be 0. */
  readonly distances: readonly (readonly number[])[]
  /** The sum of some of them as numpy computes it, in their type. */
  readonly sum: (distances: readonly number[]) => number
}

/** Throws an InconsistentRepliesError for models of different sizes. */
export function squaredDistances(models: readonly ArrayRecord[]): Distances {
  const { dtype, rows } = flattened(models)
  const [round, roundSum] = [rounding(dtype), sumRounding(dtype)]
  const norms = rows.map((row) => {
    const squares = newValues(dtype, row.length)
    for (let index = 0; index < row.length; index++) squares[index] = (Number(row[index]) * Number(row[index])) as never
    return round(pairwiseSum(squares, 0, squares.length, roundSum))
  })
  const distances = rows.map((row, i) =>
    rows.map((other, j) =>
      round(round((norms[i] as number) + (norms[j] as number)) - doubledProduct(row, other, dtype)),
    ),
  )
  const sum = (some: readonly number[]): number => round(pairwiseSum(new Float64Array(some), 0, some.length, roundSum))
  return { distances, sum }
}

/** All arrays of a model one after the other, row by row. Models of whole numbers are computed with in float64. */
function flattened(models: readonly ArrayRecord[]): { dtype: RealType; rows: NumericArray[] } {
  const tensors = models.map((model) => [...model].map(([name, array]) => tensorOf(name, array)))
  const types = tensors.flat().map(({ dtype }) => dtype)
  const dtype = floatType(promotedAll(types))
  const rows = tensors.map((model) => {
    const length = model.reduce((sum, { values }) => sum + values.length, 0)
    const row = newValues(dtype, length)
    let at = 0
    for (const tensor of model) for (const value of valuesIn(tensor, false)) row[at++] = Number(value) as never
    return row
  })
  const different = rows.find((row) => row.length !== rows[0]?.length)
  if (different)
    throw new InconsistentRepliesError(
      `The models of the replies have different sizes: ${rows[0]?.length} and ${different.length} numbers.`,
    )
  return { dtype, rows }
}

function doubledProduct(x: NumericArray, y: NumericArray, dtype: RealType): number {
  const round = rounding(dtype)
  const roundSum = dtype === 'float16' ? Math.fround : Number
  let total = 0
  for (let index = 0; index < x.length; index++)
    total = roundSum(total + round(2 * Number(x[index])) * Number(y[index]))
  return round(total)
}
