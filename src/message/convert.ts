import { type DType, dtypes, isComplex, type NumericArray, type ValuesByType } from './dtype.ts'

/**
 * Converts values from one numeric type to another as numpy does: floats round to the nearest, ties to even, and each in one
 * step; integers that do not fit wrap around; what is not 0 is true. What numpy leaves to the processor, or only warns about,
 * is an error: floats that do not fit into an integer, NaN included, and complex numbers as real ones.
 */
export function convertValues<D extends DType>(values: NumericArray, from: DType, to: D): ValuesByType[D] {
  if (from === to) return values as ValuesByType[D]
  if (isComplex(from) && !isComplex(to) && to !== 'bool')
    throw new TypeError(`Complex numbers cannot be converted to ${to}: they would lose their imaginary part.`)
  const count = values.length / (isComplex(from) ? 2 : 1)
  const { view } = dtypes[to]
  const size = count * (isComplex(to) ? 2 : 1)
  const result: NumericArray = new view(new ArrayBuffer(size * view.BYTES_PER_ELEMENT), 0, size)
  if (to === 'bool') toBooleans(values, isComplex(from), result as Uint8Array)
  else if (isComplex(to) && !isComplex(from)) {
    const real = convertValues(values, from, to === 'complex64' ? 'float32' : 'float64')
    for (let index = 0; index < count; index++) result[index * 2] = real[index] as number
  } else if (isBig(values)) fromBigints(values, to, result)
  else if (isBig(result)) toBigints(values, from, result)
  else if (isFloat(from) && !isFloat(to) && !isComplex(to)) toIntegers(values as Float64Array, to, result)
  // Typed arrays round floats and wrap integers as numpy does.
  else (result.set as (source: NumericArray) => void)(values)
  return result as ValuesByType[D]
}

function isFloat(dtype: DType): boolean {
  return dtype.startsWith('float')
}

function isBig(values: NumericArray): values is BigInt64Array | BigUint64Array {
  return values instanceof BigInt64Array || values instanceof BigUint64Array
}

function toBooleans(values: NumericArray, complex: boolean, result: Uint8Array): void {
  const holds = (index: number): boolean => Number(values[index]) !== 0
  for (let index = 0; index < result.length; index++)
    result[index] = Number(complex ? holds(index * 2) || holds(index * 2 + 1) : holds(index))
}

function fromBigints(values: BigInt64Array | BigUint64Array, to: DType, result: NumericArray): void {
  // The conversion to the other 64-bit type wraps; to smaller ones it drops the bits above.
  if (isBig(result)) {
    result.set(values as BigInt64Array)
    return
  }
  const convert =
    to === 'float32' || to === 'float16'
      ? rounded
      : isFloat(to)
        ? Number
        : (value: bigint) => Number(BigInt.asIntN(32, value))
  for (let index = 0; index < values.length; index++) result[index] = convert(values[index] as bigint)
}

/**
 * The value as a number that rounds to the right single-precision float: a double would round large integers first, and twice is
 * wrong. The bits that a double cannot hold leave a mark in its last one.
 */
function rounded(value: bigint): number {
  const size = value < 0n ? -value : value
  if (size < 2n ** 53n) return Number(value)
  const kept = Number((size >> 11n) | (size & 2047n ? 1n : 0n)) * 2048
  return value < 0n ? -kept : kept
}

const bounds: Readonly<Partial<Record<DType, readonly [least: number, below: number]>>> = {
  int8: [-128, 128],
  int16: [-32768, 32768],
  int32: [-(2 ** 31), 2 ** 31],
  int64: [-(2 ** 63), 2 ** 63],
  uint8: [0, 256],
  uint16: [0, 65536],
  uint32: [0, 2 ** 32],
  uint64: [0, 2 ** 64],
}

function toIntegers(values: ArrayLike<number>, to: DType, result: NumericArray): void {
  for (let index = 0; index < values.length; index++) result[index] = whole(values[index] as number, to)
}

function toBigints(values: NumericArray, from: DType, result: BigInt64Array | BigUint64Array): void {
  const to = result instanceof BigInt64Array ? 'int64' : 'uint64'
  for (let index = 0; index < result.length; index++) {
    const value = values[index] as number
    result[index] = BigInt(isFloat(from) ? whole(value, to) : value)
  }
}

/** The value without its fraction. Throws a RangeError if the integer type cannot hold it. */
function whole(value: number, to: DType): number {
  const [least, below] = bounds[to] as readonly [number, number]
  const cut = Math.trunc(value)
  if (cut >= least && cut < below) return cut
  throw new RangeError(`${value} does not fit into ${to}: clip or scale the values first.`)
}

/**
 * Converts to bfloat16, which numpy has no type for: the upper half of each float32, rounded to the nearest, ties to even.
 * NaN stays NaN.
 *
 * @example
 * const halves = toBfloat16(weights.astype('float32').values('float32')) // Uint16Array
 */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const result = new Uint16Array(values.length)
  for (let index = 0; index < values.length; index++) {
    const word = bits[index] as number
    const isNotNumber = (word & 0x7fffffff) > 0x7f800000
    // A NaN whose payload is in the lower half would become an infinity.
    result[index] = isNotNumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return result
}

/** Converts from bfloat16, exactly. */
export function fromBfloat16(values: Uint16Array): Float32Array {
  const result = new Float32Array(values.length)
  const bits = new Uint32Array(result.buffer)
  for (let index = 0; index < values.length; index++) bits[index] = (values[index] as number) << 16
  return result
}
