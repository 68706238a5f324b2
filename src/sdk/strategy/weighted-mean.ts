import type { NumericArray } from '../../message/dtype.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord } from '../../message/records.ts'
import { Float } from '../../message/value.ts'

/**
 * Weighted means of what nodes return: sum of w_i / W * x_i over the replies i, W the sum of the w_i (McMahan et al. 2017,
 * algorithm 1). Computed in the steps and precision of numpy, so that a Python server gets the same bits: floats keep
 * their type and are rounded after each product and each sum; integers become float64.
 */

export interface WeightedArrays {
  readonly arrays: ArrayRecord
  readonly weight: number
}

/** Arrays by name. Throws a TypeError when shapes differ. Holds one sum beside the replies. */
export function meanOfArrays(parts: readonly WeightedArrays[]): ArrayRecord {
  const factors = factorsOf(parts)
  const [first] = parts
  if (!first) return new ArrayRecord()
  const names = [...first.arrays.keys()]
  return new ArrayRecord(
    names.map((name) => {
      const arrays = parts.map((part) => part.arrays.get(name) as NdArray)
      return [name, meanOfArray(name, arrays, factors)] as const
    }),
  )
}

function meanOfArray(name: string, arrays: readonly NdArray[], factors: readonly number[]): NdArray {
  const { shape, dtype } = arrays[0] as NdArray
  const sum = sumFor(dtype, shape)
  for (const [index, array] of arrays.entries()) {
    if (array.shape.join() !== shape.join())
      throw new TypeError(
        `The arrays '${name}' have different shapes: (${shape.join(', ')}) and (${array.shape.join(', ')}).`,
      )
    addScaled(sum, array.values(), factors[index] as number, index === 0)
  }
  return NdArray.from(sum, shape, dtype.startsWith('complex') ? (dtype as 'complex64' | 'complex128') : undefined)
}

type FloatArray = Float16Array | Float32Array | Float64Array

function sumFor(dtype: string, shape: readonly number[]): FloatArray {
  const length = shape.reduce((product, dimension) => product * dimension, dtype.startsWith('complex') ? 2 : 1)
  if (dtype === 'float16') return new Float16Array(length)
  if (dtype === 'float32' || dtype === 'complex64') return new Float32Array(length)
  return new Float64Array(length)
}

/** Storing into the typed array rounds the sum; the product is rounded before. */
function addScaled(sum: FloatArray, values: NumericArray, factor: number, isFirst: boolean): void {
  if (sum instanceof Float32Array && values instanceof Float32Array) {
    const scale = Math.fround(factor)
    if (isFirst) for (let index = 0; index < sum.length; index++) sum[index] = (values[index] as number) * scale
    else
      for (let index = 0; index < sum.length; index++)
        sum[index] = (sum[index] as number) + Math.fround((values[index] as number) * scale)
    return
  }
  if (sum instanceof Float16Array) {
    const scale = Math.f16round(factor)
    for (let index = 0; index < sum.length; index++)
      sum[index] = (sum[index] as number) + Math.f16round(Number(values[index]) * scale)
    return
  }
  for (let index = 0; index < sum.length; index++) {
    const product = Number(values[index]) * factor
    sum[index] = isFirst ? product : (sum[index] as number) + product
  }
}

export interface WeightedMetrics {
  readonly metrics: MetricRecord
  readonly weight: number
}

/** Metrics by key, without the weight itself; the results are floats, lists element by element. */
export function meanOfMetrics(parts: readonly WeightedMetrics[], weightedByKey: string): MetricRecord {
  const factors = factorsOf(parts)
  const result = new MetricRecord()
  for (const key of parts[0]?.metrics.keys() ?? []) {
    if (key === weightedByKey) continue
    const values = parts.map((part) => part.metrics.get(key))
    const lists = values.filter(Array.isArray)
    if (lists.length === 0) result.set(key, new Float(weightedSum(values.map(Number), factors)))
    else {
      if (lists.length !== values.length || lists.some((list) => list.length !== lists[0]?.length))
        throw new TypeError(`The metric '${key}' has lists of different lengths.`)
      const length = lists[0]?.length ?? 0
      const columns = Array.from({ length }, (_, index) => lists.map((list) => Number(list[index])))
      result.set(
        key,
        columns.map((column) => new Float(weightedSum(column, factors))),
      )
    }
  }
  return result
}

function weightedSum(values: readonly number[], factors: readonly number[]): number {
  return values.reduce((sum, value, index) => sum + value * (factors[index] as number), 0)
}

function factorsOf(parts: readonly { weight: number }[]): number[] {
  const total = parts.reduce((sum, { weight }) => sum + weight, 0)
  if (parts.length > 0 && !(total > 0)) throw new TypeError(`The weights of the replies add up to ${total}.`)
  return parts.map(({ weight }) => weight / total)
}
