import { type DType, isComplex, type NumericArray, type ValuesByType } from '../../message/dtype.ts'
import type { StoredValues } from '../../message/nd-array.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { addInSteps, type Floats } from './simd-sums.ts'

/**
 * Adds products to sums in the steps, order and precision of Flower's with numpy, so that a Python server gets the same
 * bits: each share in double precision, then rounded to the type of the array; every product and every sum rounded to it
 * too. Floats and complex numbers keep their type, integers and bools become float64.
 */

export type SumType = 'float16' | 'float32' | 'float64' | 'complex64' | 'complex128'
export type SumArray = ValuesByType[SumType]

/** What numpy makes of a number of that type times a float. */
export function productType(dtype: DType): SumType {
  return dtype === 'float16' || dtype === 'float32' || isComplex(dtype) ? (dtype as SumType) : 'float64'
}

/** The wider of two types of real numbers; the first, if one is complex. */
export function widerType(a: SumType, b: SumType): SumType {
  if (isComplex(a) || isComplex(b)) return a
  return precision[b] > precision[a] ? b : a
}

/** Numbers, and the factor that they are multiplied by. */
export interface Part extends Pick<StoredValues, 'dtype' | 'values'> {
  readonly factor: number
}

interface Sum {
  readonly sum: SumArray
  readonly sumType: SumType
  /** The first product is taken as it is: 0 plus -0 would be 0. */
  readonly isFirst: boolean
  readonly name: string
}

export interface Addition extends Sum {
  readonly part: Part
}

/** Adds the products of arrays and their factors, in their order, to a sum of as many numbers. */
export function addProducts({ parts, ...to }: Sum & { readonly parts: readonly Part[] }): void {
  const { sumType } = to
  const isFloats = sumType === 'float32' || sumType === 'float64'
  if (isFloats && parts.every(({ dtype }) => dtype === sumType)) {
    const round = rounding[sumType]
    const floats = parts.map(({ values, factor }) => ({ values: values as Floats, factor: round(factor) }))
    if (addInSteps(to.sum as Floats, floats, to.isFirst)) return
  }
  for (const [index, part] of parts.entries()) addProduct({ ...to, part, isFirst: to.isFirst && index === 0 })
}

/** Adds one product in a plain loop. */
export function addProduct(addition: Addition): void {
  const { sum, sumType, part, isFirst, name } = addition
  const type = productType(part.dtype)
  if (isComplex(type) && !isComplex(sumType))
    throw new InconsistentRepliesError(`The arrays '${name}' of the replies are complex in some and real in others.`)
  if (isComplex(sumType)) addComplex(addition, type)
  else if (sum instanceof Float32Array && part.values instanceof Float32Array)
    addFloat32(sum, part.values, Math.fround(part.factor), isFirst)
  else if (sum instanceof Float64Array && part.values instanceof Float64Array)
    addFloat64(sum, part.values, part.factor, isFirst)
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

function addMixed({ sum, sumType, part, isFirst }: Addition, type: SumType): void {
  const round = rounding[type]
  const scale = round(part.factor)
  // Sums are made in the wider of both types, then stored in the first.
  const roundSum = rounding[precision[type] > precision[sumType] ? type : sumType]
  for (let index = 0; index < sum.length; index++) {
    const product = round(Number(part.values[index]) * scale)
    sum[index] = isFirst ? product : roundSum((sum[index] as number) + product)
  }
}

function addComplex({ sum, sumType, part, isFirst }: Addition, type: SumType): void {
  const round = rounding[type]
  const scale = round(part.factor)
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
