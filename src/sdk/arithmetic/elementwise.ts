import type { NumericArray } from '../../message/dtype.ts'
import { InconsistentRepliesError } from '../strategy/inconsistent-replies.ts'
import { floatType, newValues, promoted, type RealType, type Tensor, valuesIn } from './tensor.ts'

/**
 * Number by number. Every step is computed in double precision and rounded when it is stored: for one addition,
 * subtraction, multiplication, division or root of narrower floats that gives the same bits as computing in their type.
 */

type Operation = 'add' | 'subtract' | 'multiply' | 'divide'

/** Returns a + b. Throws an InconsistentRepliesError if shapes differ: numpy would repeat the smaller array. */
export function plus(a: Tensor, b: Tensor): Tensor {
  return combined('add', a, b)
}

/** Returns a - b. */
export function minus(a: Tensor, b: Tensor): Tensor {
  return combined('subtract', a, b)
}

/** Returns a * b. */
export function times(a: Tensor, b: Tensor): Tensor {
  return combined('multiply', a, b)
}

/** Returns a / b; whole numbers become float64. */
export function over(a: Tensor, b: Tensor): Tensor {
  return combined('divide', a, b)
}

/** Returns the array times a Python float, which takes on the type of an array of floats. */
export function scaled(a: Tensor, factor: number): Tensor {
  return withNumber('multiply', a, factor, floatType(a.dtype))
}

/** Returns the array plus a Python float. */
export function shifted(a: Tensor, summand: number): Tensor {
  return withNumber('add', a, summand, floatType(a.dtype))
}

/** Returns the array times a number of numpy's type float64, which makes any result float64. */
export function scaledAsDouble(a: Tensor, factor: number): Tensor {
  return withNumber('multiply', a, factor, 'float64')
}

/** Returns the array divided by a number of numpy's type float64. */
export function dividedAsDouble(a: Tensor, divisor: number): Tensor {
  return withNumber('divide', a, divisor, 'float64')
}

/** Returns the square of each number. */
export function squared(a: Tensor): Tensor {
  return combined('multiply', a, a)
}

/** Returns the square root of each number. */
export function root(a: Tensor): Tensor {
  return mapped(a, floatType(a.dtype), Math.sqrt)
}

/** Returns -1, 0 or 1 for each number, NaN for NaN; never -0. */
export function sign(a: Tensor): Tensor {
  return mapped(a, a.dtype, (value) => Math.sign(value) + 0)
}

/** Returns each number without its sign. */
export function absolute(a: Tensor): Tensor {
  return mapped(a, a.dtype, Math.abs)
}

function mapped(a: Tensor, dtype: RealType, change: (value: number) => number): Tensor {
  const values = newValues(dtype, a.values.length)
  for (let index = 0; index < values.length; index++) values[index] = change(Number(a.values[index])) as never
  return { ...a, dtype, values }
}

function combined(operation: Operation, a: Tensor, b: Tensor): Tensor {
  if (a.shape.join() !== b.shape.join())
    throw new InconsistentRepliesError(
      `Arrays of the shapes (${a.shape.join(', ')}) and (${b.shape.join(', ')}) cannot be put together.`,
    )
  const common = promoted(a.dtype, b.dtype)
  if (operation === 'subtract' && common === 'bool')
    throw new InconsistentRepliesError('Arrays of booleans cannot be subtracted from each other: return them as uint8.')
  const dtype = operation === 'divide' ? floatType(common) : common
  // As in numpy, a result is column-major only if all operands are.
  const fortranOrder = a.fortranOrder && b.fortranOrder
  const values = newValues(dtype, a.values.length)
  compute(operation, values, valuesIn(a, fortranOrder), valuesIn(b, fortranOrder))
  return { dtype, shape: a.shape, fortranOrder, values }
}

function withNumber(operation: Operation, a: Tensor, number: number, dtype: RealType): Tensor {
  const values = newValues(dtype, a.values.length)
  const rounded = newValues(dtype, 1)
  rounded[0] = number as never
  const operand = Number(rounded[0])
  if (operation === 'multiply')
    for (let i = 0; i < values.length; i++) values[i] = (Number(a.values[i]) * operand) as never
  else if (operation === 'add')
    for (let i = 0; i < values.length; i++) values[i] = (Number(a.values[i]) + operand) as never
  else for (let i = 0; i < values.length; i++) values[i] = (Number(a.values[i]) / operand) as never
  return { ...a, dtype, values }
}

function compute(operation: Operation, out: NumericArray, x: NumericArray, y: NumericArray): void {
  if (out instanceof BigInt64Array || out instanceof BigUint64Array) computeBig(operation, out, x, y)
  else if (operation === 'add') for (let i = 0; i < out.length; i++) out[i] = Number(x[i]) + Number(y[i])
  else if (operation === 'subtract') for (let i = 0; i < out.length; i++) out[i] = Number(x[i]) - Number(y[i])
  else if (operation === 'divide') for (let i = 0; i < out.length; i++) out[i] = Number(x[i]) / Number(y[i])
  else if (out instanceof Int32Array || out instanceof Uint32Array)
    // The product of two such integers does not fit into a double; it wraps as in numpy.
    for (let i = 0; i < out.length; i++) out[i] = Math.imul(Number(x[i]), Number(y[i]))
  else for (let i = 0; i < out.length; i++) out[i] = Number(x[i]) * Number(y[i])
}

/** Integers of 64 bits wrap when they are stored. */
function computeBig(operation: Operation, out: BigInt64Array | BigUint64Array, x: NumericArray, y: NumericArray): void {
  for (let i = 0; i < out.length; i++) {
    const [a, b] = [BigInt(x[i] as number | bigint), BigInt(y[i] as number | bigint)]
    if (operation === 'add') out[i] = a + b
    else if (operation === 'subtract') out[i] = a - b
    else out[i] = a * b
  }
}
