import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { addProduct } from './product-sum.ts'
import { addInSteps, roomForSum } from './simd-sums.ts'

const random = randomFrom(77)
const MiB = 1024 * 1024

/** Any bits but those of NaNs: infinities, zeros of both signs, and numbers below the smallest normal one are among them. */
function anyFloats(bytes: number, type: 'float32' | 'float64'): Float32Array | Float64Array {
  const words = new Uint32Array(new ArrayBuffer(bytes)).map(() => random(2 ** 32))
  const values =
    type === 'float32' ? new Float32Array(words.buffer as ArrayBuffer) : new Float64Array(words.buffer as ArrayBuffer)
  for (const [index, value] of values.entries())
    if (Number.isNaN(value)) values[index] = index % 2 === 0 ? -0 : Infinity
  return values
}

function sumOver(room: Uint8Array, offset: number, length: number, type: 'float32' | 'float64') {
  const View = type === 'float32' ? Float32Array : Float64Array
  return new View(room.buffer as ArrayBuffer, room.byteOffset + offset, length)
}

for (const type of ['float32', 'float64'] as const)
  test(`sums of ${type} in memory of WebAssembly have the bits of a plain loop`, () => {
    const size = type === 'float32' ? 4 : 8
    // An odd number of numbers, behind a head of 8 bytes, so that nothing is aligned and the last step is not full.
    const bytes = 300_000 - (300_000 % size) + size
    const room = roomForSum(2 * MiB)
    const fast = sumOver(room, 8, bytes / size, type)
    const plain = sumOver(new Uint8Array(bytes), 0, bytes / size, type)
    for (const [index, factor] of [0.37, 1e-30, 3].entries()) {
      const dtype = type
      const values = anyFloats(bytes, type)
      assert.equal(addInSteps(fast, values, type === 'float32' ? Math.fround(factor) : factor, index === 0), true)
      addProduct({ sum: plain, sumType: type, part: { dtype, values }, factor, isFirst: index === 0, name: 'w' })
      assert.ok(isSame(fast, plain), `they differ after ${index + 1} products`)
    }
    assert.ok(plain.some((value) => Math.abs(value) > 0 && Number.isFinite(value)))
    // What lies around the sum is as it was.
    assert.ok(room.subarray(0, 8).every((byte) => byte === 0) && room.subarray(8 + bytes).every((byte) => byte === 0))
  })

test('parts of another type, and small sums, are left to the plain loop', () => {
  const large = sumOver(roomForSum(MiB), 0, 100, 'float32')
  const small = sumOver(roomForSum(400), 0, 100, 'float32')
  assert.equal(addInSteps(large, new Float64Array(100), 1, false), false)
  assert.equal(addInSteps(small, new Float32Array(100), 1, false), false)
  assert.ok(large.every((value) => value === 0))
})

/** NaN is one value here: which of its many bits a processor chooses is its own affair. */
function isSame(one: Float32Array | Float64Array, other: Float32Array | Float64Array): boolean {
  return one.length === other.length && one.every((value, index) => Object.is(value, other[index]))
}
