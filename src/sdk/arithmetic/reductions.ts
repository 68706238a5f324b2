import type { NumericArray } from '../../message/dtype.ts'
import { floatType, promoted, type RealType, type Tensor, valuesIn } from './tensor.ts'

/** Sums, in numpy's order of additions: pairwise along an array, so that rounding errors stay small. */

type Rounding = (value: number) => number

/** How sums of each type are rounded on their way: halves are summed in single precision. */
export function sumRounding(dtype: RealType): Rounding {
  return dtype === 'float16' || dtype === 'float32' ? Math.fround : Number
}

/** Rounds to a float type; integers are summed in double precision. */
export function rounding(dtype: RealType): Rounding {
  if (dtype === 'float16') return Math.f16round
  return dtype === 'float32' ? Math.fround : Number
}

/** Returns numpy's `sum` of all numbers, in the type of the array. */
export function sum({ values, dtype }: Pick<Tensor, 'values' | 'dtype'>): number {
  return rounding(dtype)(0 + pairwiseSum(values, 0, values.length, sumRounding(dtype)))
}

/** The sum of the sums of several arrays, each added in the wider of both types. */
export function sumOfSums(tensors: readonly Tensor[]): number {
  return added(tensors.map((tensor) => ({ value: sum(tensor), dtype: tensor.dtype })))
}

/** Numbers of numpy, added one after the other. */
function added(numbers: readonly { value: number; dtype: RealType }[]): number {
  let total = 0
  let type: RealType | undefined
  for (const { value, dtype } of numbers) {
    type = type === undefined ? dtype : promoted(type, dtype)
    total = rounding(type)(total + value)
  }
  return total
}

const blockSize = 128
const lanes = 8

/** Blocks of 128 are summed in eight lanes, more by halves, fewer than eight one after the other. */
export function pairwiseSum(values: NumericArray, start: number, count: number, round: Rounding): number {
  if (count < lanes) {
    let total = 0
    for (let index = start; index < start + count; index++) total = round(total + Number(values[index]))
    return total
  }
  if (count > blockSize) {
    const half = Math.floor(count / 2)
    const first = half - (half % lanes)
    return round(pairwiseSum(values, start, first, round) + pairwiseSum(values, start + first, count - first, round))
  }
  const lane = Array.from({ length: lanes }, (_, index) => Number(values[start + index]))
  const inLanes = count - (count % lanes)
  for (let index = lanes; index < inLanes; index++)
    lane[index % lanes] = round((lane[index % lanes] as number) + Number(values[start + index]))
  const [a, b, c, d, e, f, g, h] = lane as [number, number, number, number, number, number, number, number]
  let total = round(round(round(a + b) + round(c + d)) + round(round(e + f) + round(g + h)))
  for (let index = inLanes; index < count; index++) total = round(total + Number(values[start + index]))
  return total
}

/**
 * Returns the Euclidean norm of several arrays as Flower computes it: the norm of each in its own type, then the root of
 * the sum of their squares. numpy leaves the sum of squares of one array to the BLAS library, whose order of additions
 * depends on the processor; here it is a sum in double precision, rounded once.
 */
export function norm(tensors: readonly Tensor[]): number {
  const squares = tensors.map((tensor) => {
    const dtype = floatType(tensor.dtype)
    const round = rounding(dtype)
    const length = round(Math.sqrt(round(sumOfSquares(tensor, dtype))))
    return { value: round(length * length), dtype }
  })
  const type = squares.map(({ dtype }) => dtype).reduce(promoted, squares[0]?.dtype ?? 'float64')
  return rounding(type)(Math.sqrt(added(squares)))
}

/** Returns the sum of squares, added one after the other. */
export function sumOfSquares(tensor: Tensor, dtype: RealType): number {
  const round = dtype === 'float16' ? Math.fround : Number
  let total = 0
  for (const value of valuesIn(tensor, false)) total = round(total + Number(value) * Number(value))
  return total
}
