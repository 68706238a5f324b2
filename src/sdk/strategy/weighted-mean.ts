import { type DType, isComplex, type NumericArray, type ValuesByType } from '../../message/dtype.ts'
import { NdArray, type StoredValues } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord } from '../../message/records.ts'
import { Float } from '../../message/value.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'

/**
 * Weighted means of what nodes return: sum of w_i / W * x_i over the replies i, W the sum of the w_i (McMahan et al. 2017,
 * algorithm 1). Computed in the steps, order and precision of Flower's with numpy, so that a Python server gets the same
 * bits: each w_i / W in double precision, then rounded to the type of the array; every product and every sum rounded to
 * it too. Floats and complex numbers keep their type, integers and bools become float64. When types differ between
 * replies the first one's is kept. Arrays that come in column-major order stay so.
 */

export interface WeightedArrays {
  readonly arrays: ArrayRecord
  readonly weight: number
}

/**
 * The mean by name, in the order of the first record; all must have the same names. Throws an InconsistentRepliesError
 * when shapes differ. Holds one sum beside the replies, and writes it in place.
 */
export function meanOfArrays(parts: readonly WeightedArrays[]): ArrayRecord {
  const factors = factorsOf(parts)
  const names = [...(parts[0]?.arrays.keys() ?? [])]
  return new ArrayRecord(
    names.map(
      (name) =>
        [
          name,
          meanOfArray(
            name,
            parts.map((part) => part.arrays.getArray(name)),
            factors,
          ),
        ] as const,
    ),
  )
}

type SumType = 'float16' | 'float32' | 'float64' | 'complex64' | 'complex128'
type SumArray = ValuesByType[SumType]

function meanOfArray(name: string, arrays: readonly NdArray[], factors: readonly number[]): NdArray {
  const layouts = arrays.map((array) => array.layout())
  const { shape, dtype } = layouts[0] as (typeof layouts)[0]
  const different = layouts.find((layout) => layout.shape.join() !== shape.join())
  if (different)
    throw new InconsistentRepliesError(
      `The arrays '${name}' of the replies have different shapes: (${shape.join(', ')}) and (${different.shape.join(', ')}).`,
    )
  const sumType = productType(dtype)
  const fortranOrder = layouts.every((layout) => layout.fortranOrder)
  return NdArray.buildStored(sumType, shape, fortranOrder, (sum) => {
    for (const [index, array] of arrays.entries()) {
      const part = fortranOrder ? array.stored() : { ...array.layout(), values: array.values() }
      addProduct({ sum, sumType, part, factor: factors[index] as number, isFirst: index === 0, name })
    }
  })
}

/** What numpy makes of a number of that type times a float. */
function productType(dtype: DType): SumType {
  return dtype === 'float16' || dtype === 'float32' || isComplex(dtype) ? (dtype as SumType) : 'float64'
}

interface Addition {
  readonly sum: SumArray
  readonly sumType: SumType
  readonly part: Pick<StoredValues, 'dtype' | 'values'>
  readonly factor: number
  /** The first product is taken as it is: 0 plus -0 would be 0. */
  readonly isFirst: boolean
  readonly name: string
}

function addProduct(addition: Addition): void {
  const { sum, sumType, part, factor, isFirst, name } = addition
  const type = productType(part.dtype)
  if (isComplex(type) && !isComplex(sumType))
    throw new InconsistentRepliesError(`The arrays '${name}' of the replies are complex in some and real in others.`)
  if (isComplex(sumType)) addComplex(addition, type)
  else if (sum instanceof Float32Array && part.values instanceof Float32Array)
    addFloat32(sum, part.values, Math.fround(factor), isFirst)
  else if (sum instanceof Float64Array && part.values instanceof Float64Array)
    addFloat64(sum, part.values, factor, isFirst)
  else addMixed(addition, type)
}

// The double product of two floats is exact, and a double sum rounded once more is the float sum.
function addFloat32(sum: Float32Array, values: Float32Array, factor: number, isFirst: boolean): void {
  if (isFirst) for (let index = 0; index < sum.length; index++) sum[index] = (values[index] as number) * factor
  else
    for (let index = 0; index < sum.length; index++)
      sum[index] = (sum[index] as number) + Math.fround((values[index] as number) * factor)
}

function addFloat64(sum: Float64Array, values: Float64Array, factor: number, isFirst: boolean): void {
  if (isFirst) for (let index = 0; index < sum.length; index++) sum[index] = (values[index] as number) * factor
  else
    for (let index = 0; index < sum.length; index++)
      sum[index] = (sum[index] as number) + (values[index] as number) * factor
}

function addMixed({ sum, sumType, part, factor, isFirst }: Addition, type: SumType): void {
  const round = rounding[type]
  const scale = round(factor)
  // Sums are made in the wider of both types, then stored in the first.
  const roundSum = rounding[precision[type] > precision[sumType] ? type : sumType]
  for (let index = 0; index < sum.length; index++) {
    const product = round(Number(part.values[index]) * scale)
    sum[index] = isFirst ? product : roundSum((sum[index] as number) + product)
  }
}

function addComplex({ sum, sumType, part, factor, isFirst }: Addition, type: SumType): void {
  const round = rounding[type]
  const scale = round(factor)
  const roundSum = rounding[precision[type] > precision[sumType] ? type : sumType]
  const values: NumericArray = part.values
  const isReal = !isComplex(type)
  for (let index = 0; index < sum.length; index += 2) {
    const real = Number(values[isReal ? index / 2 : index])
    const imaginary = isReal ? 0 : Number(values[index + 1])
    // The factor is a complex number too, with an imaginary part of 0: it matters for what is not finite.
    const product = isReal
      ? [round(real * scale), 0]
      : [round(round(real * scale) - imaginary * 0), round(real * 0 + round(imaginary * scale))]
    for (const part of [0, 1] as const) {
      const value = product[part] as number
      sum[index + part] = isFirst ? value : roundSum((sum[index + part] as number) + value)
    }
  }
}

const rounding: Readonly<Record<SumType, (value: number) => number>> = {
  float16: Math.f16round,
  float32: Math.fround,
  float64: Number,
  complex64: Math.fround,
  complex128: Number,
}

const precision: Readonly<Record<SumType, number>> = {
  float16: 11,
  float32: 24,
  float64: 53,
  complex64: 24,
  complex128: 53,
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
        throw new InconsistentRepliesError(`The metric '${key}' is a list of another length in some replies.`)
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
  return values.map((value, index) => value * (factors[index] as number)).reduce((sum, product) => sum + product)
}

function factorsOf(parts: readonly { weight: number }[]): number[] {
  const total = parts.reduce((sum, { weight }) => sum + weight, 0)
  if (parts.length > 0 && !(total > 0))
    throw new InconsistentRepliesError(
      `The weights of the replies add up to ${total}, which nothing can be divided by.`,
    )
  return parts.map(({ weight }) => weight / total)
}
