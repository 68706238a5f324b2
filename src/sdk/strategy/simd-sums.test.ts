import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { addProduct } from './product-sum.ts'
import { addInSteps } from './simd-sums.ts'

const random = randomFrom(77)

/** Any bits but those of NaNs: infinities, zeros of both signs, and numbers below the smallest normal one are among them. */
function anyFloats(bytes: number, type: 'float32' | 'float64'): Float32Array | Float64Array {
  const words = new Uint32Array(new ArrayBuffer(bytes)).map(() => random(2 ** 32))
  const values =
    type === 'float32' ? new Float32Array(words.buffer as ArrayBuffer) : new Float64Array(words.buffer as ArrayBuffer)
  for (const [index, value] of values.entries())
    if (Number.isNaN(value)) values[index] = index % 2 === 0 ? -0 : Infinity
  return values
}

for (const type of ['float32', 'float64'] as const)
  test(`sums of ${type} in WebAssembly have the bits of a plain loop`, () => {
    const View = type === 'float32' ? Float32Array : Float64Array
    // Some blocks, the last one not full, behind a head of 8 bytes, so that nothing is aligned.
    const length = 300_001 / (View.BYTES_PER_ELEMENT / 4)
    const room = new ArrayBuffer(16 + length * 8)
    const fast = new View(room, 8, Math.floor(length))
    const plain = new View(fast.length)
    for (const isFirst of [true, false]) {
      const parts = [0.37, 1e-30, 3].map((factor) => ({
        values: anyFloats(fast.byteLength, type),
        factor: type === 'float32' ? Math.fround(factor) : factor,
      }))
      assert.equal(addInSteps(fast, parts, isFirst), true)
      for (const [index, part] of parts.entries()) {
        const to = { sum: plain, sumType: type, isFirst: isFirst && index === 0, name: 'w' }
        addProduct({ ...to, part: { ...part, dtype: type } })
      }
      assert.ok(isSame(fast, plain), 'they differ')
    }
    assert.ok(plain.some((value) => Math.abs(value) > 0 && Number.isFinite(value)))
    // What lies around the sum is as it was.
    const around = new Uint8Array(room)
    assert.ok(around.subarray(0, 8).every((byte) => byte === 0))
    assert.ok(around.subarray(8 + fast.byteLength).every((byte) => byte === 0))
  })

test('parts of another type, and short sums, are left to the plain loop', () => {
  const long = new Float32Array(100_000)
  const add = (sum: Float32Array, values: Float32Array | Float64Array) =>
    addInSteps(sum, [{ values, factor: 1 }], false)
  assert.equal(add(long, new Float64Array(long.length)), false)
  assert.equal(add(new Float32Array(100), new Float32Array(100)), false)
  assert.ok(long.every((value) => value === 0))
})

/** NaN is one value here: which of its many bits a processor chooses is its own affair. */
function isSame(one: Float32Array | Float64Array, other: Float32Array | Float64Array): boolean {
  return one.length === other.length && one.every((value, index) => Object.is(value, other[index]))
}
