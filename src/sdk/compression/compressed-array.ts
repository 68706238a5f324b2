import type { NumericArray } from '../../message/dtype.ts'
import { NdArray } from '../../message/nd-array.ts'
import { arrayOf, isFloat, newValues, type RealType, tensorOf, valuesIn } from '../arithmetic/tensor.ts'

/**
 * Changes of an array in fewer bytes. They travel as an array with the name, type and shape of the model's, and a `stype` of
 * their own, so that a server without {@link CompressedUpdates} rejects them instead of adding them up. All numbers are
 * little-endian, and values come row by row.
 *
 * - `trellis.quantized`: the smallest change and the step (two float64), then a whole number for each value, in one byte or
 *   two: the change is smallest + step * number.
 * - `trellis.sparse`: the number of entries (uint32), their places (uint32), and their changes in the type of the array; all
 *   other changes are 0.
 */
export const quantizedStype = 'trellis.quantized'
export const sparseStype = 'trellis.sparse'

const headBytes = 16

/**
 * The change of an array, row by row. `undefined` for arrays of whole numbers, which are sent as they are. Throws a TypeError
 * for a change that is not finite.
 */
export function changeOf(name: string, before: NdArray, after: NdArray): Float64Array | undefined {
  const [from, to] = [tensorOf(name, before), tensorOf(name, after)]
  if (!isFloat(from.dtype) || !isFloat(to.dtype)) return undefined
  if (before.shape.join() !== after.shape.join())
    throw new TypeError(`The array '${name}' of the reply has another shape than that of the model.`)
  const [old, now] = [valuesIn(from, false), valuesIn(to, false)]
  return Float64Array.from(now as Float64Array, (value, index) => {
    const change = value - (old[index] as number)
    if (!Number.isFinite(change)) throw notFinite()
    return change
  })
}

function notFinite(): TypeError {
  return new TypeError('A change that is not finite cannot be compressed.')
}

/** Rounds changes up or down by chance, so that their mean is kept (QSGD). `random` is uniform from 0 up to 1. */
export function quantized(like: NdArray, change: Float64Array, bits: 8 | 16, random: () => number): NdArray {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const value of change) {
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  if (change.length > 0 && !Number.isFinite(high - low)) throw notFinite()
  const most = 2 ** bits - 1
  const step = high > low ? (high - low) / most : 0
  const bytes = bits / 8
  const data = Buffer.alloc(headBytes + change.length * bytes)
  data.writeDoubleLE(change.length > 0 ? low : 0, 0)
  data.writeDoubleLE(step, 8)
  for (let index = 0; index < change.length; index++) {
    const exact = step === 0 ? 0 : ((change[index] as number) - low) / step
    const code = Math.min(most, Math.floor(exact + random()))
    data.writeUIntLE(code, headBytes + index * bytes, bytes)
  }
  return new NdArray({ dtype: like.dtype, shape: like.shape, stype: quantizedStype, data: Uint8Array.from(data) })
}

/**
 * Keeps the largest changes. Returns them, and what is left of all. Throws a TypeError for a change that is too large for the
 * type of the array.
 */
export function sparse(
  like: NdArray,
  change: Float64Array,
  count: number,
): { array: NdArray; rest: Float64Array<ArrayBuffer> } {
  const places = Uint32Array.from(change.keys())
    .sort((a, b) => Math.abs(change[b] as number) - Math.abs(change[a] as number) || a - b)
    .slice(0, count)
    .sort()
  const values = newValues(like.dtype as RealType, places.length)
  const rest = Float64Array.from(change)
  for (const [index, place] of places.entries()) {
    values[index] = change[place] as number
    if (!Number.isFinite(Number(values[index]))) throw notFinite()
    // What rounding to the type of the array leaves is kept too.
    rest[place] = (change[place] as number) - Number(values[index])
  }
  const head = Buffer.alloc(4)
  head.writeUInt32LE(places.length)
  const data = Uint8Array.from(
    Buffer.concat([head, new Uint8Array(places.buffer), new Uint8Array(values.buffer, 0, values.byteLength)]),
  )
  return { array: new NdArray({ dtype: like.dtype, shape: like.shape, stype: sparseStype, data }), rest }
}

/** Whether an array holds changes instead of values. */
export function isCompressed({ stype }: NdArray): boolean {
  return stype === quantizedStype || stype === sparseStype
}

/** The array that a node has trained. Throws a TypeError for bytes that are none of these forms. */
export function restored(name: string, current: NdArray, { stype, data }: NdArray): NdArray {
  const tensor = tensorOf(name, current)
  const { dtype, shape } = tensor
  const values = newValues(dtype, tensor.values.length)
  ;(values.set as (source: typeof values) => void)(valuesIn(tensor, false))
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length)
  const isRight = stype === sparseStype ? addSparse(bytes, values, dtype) : addQuantized(bytes, values)
  if (!isRight) throw new TypeError(`The compressed array '${name}' does not fit the model.`)
  return arrayOf({ dtype, shape, fortranOrder: false, values })
}

function addQuantized(bytes: Buffer, values: NumericArray): boolean {
  const width = [1, 2].find((one) => bytes.length === headBytes + values.length * one)
  if (width === undefined) return false
  const [low, step] = [bytes.readDoubleLE(0), bytes.readDoubleLE(8)]
  for (let index = 0; index < values.length; index++)
    values[index] = (values[index] as number) + low + step * bytes.readUIntLE(headBytes + index * width, width)
  return true
}

function addSparse(bytes: Buffer, values: NumericArray, dtype: RealType): boolean {
  const count = bytes.length < 4 ? 0 : bytes.readUInt32LE(0)
  const changes = newValues(dtype, Math.min(count, values.length))
  if (count > values.length || bytes.length !== 4 + count * 4 + changes.byteLength) return false
  new Uint8Array(changes.buffer).set(bytes.subarray(4 + count * 4))
  for (let index = 0; index < count; index++) {
    const place = bytes.readUInt32LE(4 + index * 4)
    if (place >= values.length) return false
    values[place] = (values[place] as number) + (changes[index] as number)
  }
  return true
}
