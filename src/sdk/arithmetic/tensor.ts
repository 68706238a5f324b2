import { type DType, dtypes, isComplex, type NumericArray } from '../../message/dtype.ts'
import { toColumnMajor, toRowMajor } from '../../message/memory-order.ts'
import { NdArray } from '../../message/nd-array.ts'
import { InconsistentRepliesError } from '../strategy/inconsistent-replies.ts'

/**
 * Arithmetic on arrays with the bits of numpy 2: the type of a result, the type in which each step is rounded, the order
 * of sums, and the memory order of a result are numpy's. A Python server therefore computes the same model.
 */

export type RealType = Exclude<DType, 'complex64' | 'complex128'>

/** The numbers of an array in its memory order, as an operand. Its values are never written to. */
export interface Tensor {
  readonly dtype: RealType
  readonly shape: readonly number[]
  /** Whether the first axis is the fastest, for arrays in which that makes a difference. */
  readonly fortranOrder: boolean
  readonly values: NumericArray
}

/** Reads an array. Throws an InconsistentRepliesError for complex numbers, which only a weighted mean supports. */
export function tensorOf(name: string, array: NdArray): Tensor {
  const { dtype, shape, fortranOrder, values } = array.stored()
  if (isComplex(dtype))
    throw new InconsistentRepliesError(
      `The array '${name}' holds complex numbers: only weighted means, e.g. of FedAvg, take them.`,
    )
  return { dtype: dtype as RealType, shape, fortranOrder, values }
}

/** The array that holds these numbers. */
export function arrayOf({ dtype, shape, fortranOrder, values }: Tensor): NdArray {
  const draft = NdArray.draft(dtype, shape, fortranOrder)
  ;(draft.values.set as (source: NumericArray) => void)(values)
  return draft.array
}

/** An array of zeros with the type and order of another one. */
export function zerosLike({ dtype, shape, fortranOrder, values }: Tensor): Tensor {
  return { dtype, shape, fortranOrder, values: newValues(dtype, values.length) }
}

/** Room for that many numbers. */
export function newValues(dtype: RealType, length: number): NumericArray {
  const { view } = dtypes[dtype]
  return new view(new ArrayBuffer(length * view.BYTES_PER_ELEMENT), 0, length)
}

/** The values of a tensor in the given memory order; a view where they are in that order already. */
export function valuesIn({ values, shape, fortranOrder }: Tensor, inFortranOrder: boolean): NumericArray {
  if (fortranOrder === inFortranOrder || shape.filter((length) => length > 1).length < 2) return values
  return fortranOrder ? toRowMajor(values, shape, 1) : toColumnMajor(values, shape, 1)
}

/** The same numbers in another type, rounded, and in another memory order. */
export function converted(tensor: Tensor, dtype: RealType, fortranOrder: boolean): Tensor {
  const source = valuesIn(tensor, fortranOrder)
  if (dtype === tensor.dtype && source === tensor.values) return tensor
  const values = newValues(dtype, source.length)
  if (values instanceof BigInt64Array || values instanceof BigUint64Array)
    for (let index = 0; index < source.length; index++) values[index] = wholePart(source[index] as number | bigint)
  else for (let index = 0; index < source.length; index++) values[index] = Number(source[index])
  return { dtype, shape: tensor.shape, fortranOrder, values }
}

function wholePart(value: number | bigint): bigint {
  if (typeof value === 'bigint') return value
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n
}

/** Whether numbers of that type have fractions. */
export function isFloat(dtype: RealType): dtype is 'float16' | 'float32' | 'float64' {
  return dtype === 'float16' || dtype === 'float32' || dtype === 'float64'
}

/** The type of a result that is never a whole number: floats keep theirs, others become float64. */
export function floatType(dtype: RealType): RealType {
  return isFloat(dtype) ? dtype : 'float64'
}

const kinds: Readonly<Record<RealType, readonly [kind: 'float' | 'signed' | 'unsigned' | 'bool', bits: number]>> = {
  float16: ['float', 16],
  float32: ['float', 32],
  float64: ['float', 64],
  int8: ['signed', 8],
  int16: ['signed', 16],
  int32: ['signed', 32],
  int64: ['signed', 64],
  uint8: ['unsigned', 8],
  uint16: ['unsigned', 16],
  uint32: ['unsigned', 32],
  uint64: ['unsigned', 64],
  bool: ['bool', 1],
}

/** The type of numpy's result for operands of two types. */
export function promoted(a: RealType, b: RealType): RealType {
  if (a === b) return a
  const [kindA, bitsA] = kinds[a]
  const [kindB, bitsB] = kinds[b]
  if (kindA === 'bool') return b
  if (kindB === 'bool') return a
  if (kindA === kindB) return bitsA > bitsB ? a : b
  if (kindA === 'float') return promotedFloat(bitsA, bitsB)
  if (kindB === 'float') return promotedFloat(bitsB, bitsA)
  const [signed, unsigned] = kindA === 'signed' ? [bitsA, bitsB] : [bitsB, bitsA]
  if (signed > unsigned) return `int${signed}` as RealType
  return unsigned === 64 ? 'float64' : (`int${unsigned * 2}` as RealType)
}

/** The type of numpy's result for any number of operands: if there are floats, each integer type is promoted with them. */
export function promotedAll(dtypes: readonly RealType[]): RealType {
  const floats = dtypes.filter(isFloat)
  return [...floats, ...dtypes].reduce<RealType>(promoted, floats[0] ?? dtypes[0] ?? 'float64')
}

/** A float must be at least twice as wide as the integers beside it, up to 64 bits. */
function promotedFloat(floatBits: number, integerBits: number): RealType {
  return `float${Math.min(64, Math.max(floatBits, integerBits * 2))}` as RealType
}
