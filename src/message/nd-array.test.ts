import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DType, dtypes, entriesPerNumber } from './dtype.ts'
import { NdArray } from './nd-array.ts'

const all = Object.keys(dtypes) as DType[]

test('an array of every type gives back the values it was made from', () => {
  for (const dtype of all) {
    const { view } = dtypes[dtype]
    const values = new view(new ArrayBuffer(12 * view.BYTES_PER_ELEMENT), 0, 12)
    const isBig = values instanceof BigInt64Array || values instanceof BigUint64Array
    for (let index = 0; index < 12; index++) values[index] = (isBig ? BigInt(index) : index) as never
    const array = NdArray.from(values, [2, 6 / entriesPerNumber(dtype)], dtype)
    assert.equal(array.dtype, dtype)
    assert.deepEqual(array.values(dtype), values)
  }
})

test('values are read in place, without a copy', () => {
  for (const dtype of all) {
    const array = NdArray.build(dtype, [3], () => {})
    assert.equal(array.values().buffer, array.data.buffer)
    assert.equal(array.values().buffer, array.values().buffer)
  }
})

test('values that are not aligned in memory are still read', () => {
  const { data, ...fields } = NdArray.from(new Float64Array([1.5, -2, 3]))
  const shifted = new Uint8Array(data.length + 3)
  shifted.set(data, 3)
  const array = new NdArray({ ...fields, data: shifted.subarray(3) })
  assert.deepEqual(array.values('float64'), new Float64Array([1.5, -2, 3]))
  assert.equal(shifted.subarray(3).toString(), data.toString())
})

test('an array is built in place, row by row', () => {
  const array = NdArray.build('int16', [2, 2], (values) => values.set([1, 2, 3, 4]))
  assert.deepEqual(array.values('int16'), new Int16Array([1, 2, 3, 4]))
  assert.deepEqual(array.shape, [2, 2])
  assert.deepEqual(NdArray.build('float32', [2], () => {}).values(), new Float32Array(2))
})

test('changing what an array was made from does not change the array', () => {
  const values = new Float32Array([1, 2])
  const shape = [2]
  const array = NdArray.from(values, shape)
  values[0] = 9
  shape[0] = 9
  assert.deepEqual([...array.values()], [1, 2])
  assert.deepEqual(array.shape, [2])
})

test('the bytes of a Buffer are an array of uint8', () => {
  assert.deepEqual(NdArray.from(Buffer.from([1, 2])).values('uint8'), new Uint8Array([1, 2]))
})

test('a number alone has no axes, and an empty array no values', () => {
  assert.deepEqual(NdArray.from(new Float32Array([2.5]), []).shape, [])
  assert.deepEqual([...NdArray.from(new Float32Array([2.5]), []).values()], [2.5])
  assert.deepEqual([...NdArray.from(new Float32Array(), [0, 3]).values()], [])
})

test('values, type and shape that do not fit are refused with what is wrong', () => {
  assert.throws(() => NdArray.from(new Float32Array(3), [2, 2]), /Shape \(2, 2\) needs 4 values, got 3\./)
  assert.throws(() => NdArray.from(new Float32Array(4), [-2, -2]), /is not a shape/)
  assert.throws(() => NdArray.from(new Float32Array(4), [4], 'int32'), /Float32Array cannot be stored as int32/)
  assert.throws(() => NdArray.from(new Float32Array(4), [4], 'bfloat16' as DType), /no array type 'bfloat16'/)
  assert.throws(() => NdArray.from([1, 2] as never), /Values of Array have no numpy type/)
  assert.throws(() => NdArray.from(new Float32Array(1)).values('float64'), /holds float32, not float64/)
})

test('column-major arrays of any shape are read row by row', () => {
  for (const shape of [[4], [2, 3], [3, 1, 2], [2, 3, 4], [1, 5], [2, 2, 2, 2]]) {
    const count = shape.reduce((product, length) => product * length, 1)
    // Each value names its place: 10 * row + column, and so on.
    const places = Array.from({ length: count }, (_, index) => placeOf(index, shape))
    const inColumns = places.toSorted((a, b) => compareReversed(a, b))
    const { array, values } = NdArray.draft('int32', shape, true)
    values.set(inColumns.map(nameOf))
    assert.deepEqual([...array.values('int32')], places.map(nameOf))
  }
})

function placeOf(index: number, shape: readonly number[]): number[] {
  const place: number[] = []
  let rest = index
  for (const length of shape.toReversed()) {
    place.unshift(rest % length)
    rest = Math.floor(rest / length)
  }
  return place
}

function compareReversed(a: readonly number[], b: readonly number[]): number {
  for (let axis = a.length - 1; axis >= 0; axis--) {
    const difference = (a[axis] as number) - (b[axis] as number)
    if (difference !== 0) return difference
  }
  return 0
}

function nameOf(place: readonly number[]): number {
  return place.reduce((name, position) => name * 10 + position, 0)
}

test('bytes that are no array of numbers are refused with what is wrong', () => {
  const fields = { dtype: 'float32', shape: [2], stype: 'numpy.ndarray' }
  const reading = (data: Uint8Array) => () => new NdArray({ ...fields, data }).values()
  const good = NdArray.from(new Float32Array(2)).data
  const withHeader = (text: string): Uint8Array => {
    const header = Buffer.from(`${text.padEnd(117)}\n`)
    return Buffer.concat([good.subarray(0, 10), header, good.subarray(128)])
  }
  assert.throws(reading(new Uint8Array()), /Not an NPY array/)
  assert.throws(reading(Buffer.from('not an array at all')), /Not an NPY array/)
  assert.throws(reading(good.subarray(0, 60)), /header is cut short/)
  assert.throws(reading(good.subarray(0, good.length - 1)), /fewer bytes than its shape needs/)
  assert.throws(reading(withHeader("{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }")), /'<U3'/)
  assert.throws(reading(withHeader("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }")), /'\|O'/)
  assert.throws(
    reading(withHeader("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}")),
    /not understood/,
  )
  assert.throws(
    reading(withHeader("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }")),
    /is not a shape/,
  )
  assert.throws(() => new NdArray({ ...fields, stype: 'torch.Tensor', data: good }).values(), /'torch.Tensor'/)
})

test('later versions of the file format are read', () => {
  const { data } = NdArray.from(new Float32Array([7]))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(118)
  for (const version of [2, 3]) {
    const bytes = Buffer.concat([data.subarray(0, 6), Buffer.from([version, 0]), length, data.subarray(10)])
    const array = new NdArray({ dtype: 'float32', shape: [1], stype: 'numpy.ndarray', data: bytes })
    assert.deepEqual([...array.values()], [7])
  }
  const ninth = Buffer.concat([data.subarray(0, 6), Buffer.from([9, 0]), data.subarray(8)])
  assert.throws(
    () => new NdArray({ dtype: 'float32', shape: [1], stype: 'numpy.ndarray', data: ninth }).values(),
    /version 9/,
  )
})
