import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import type { NumericArray } from '../../message/dtype.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { meanOfArrays, meanOfMetrics } from './weighted-mean.ts'

const part = (values: NumericArray, weight: number, shape?: readonly number[]) => ({
  arrays: new ArrayRecord({ w: NdArray.from(values, shape) }),
  weight,
})
const valuesOf = (arrays: ArrayRecord): number[] => [...arrays.getArray('w').values()].map(Number)
const random = randomFrom(11)
/** A number from 0 to below 1. */
const fraction = (): number => random(2 ** 32) / 2 ** 32
const randomParts = (count: number, length: number) =>
  Array.from({ length: count }, () =>
    part(
      Float64Array.from({ length }, () => fraction() * 2 - 1),
      1 + random(100),
    ),
  )

test('the order of the models makes no difference beyond rounding', () => {
  for (let trial = 0; trial < 100; trial++) {
    const parts = randomParts(1 + (trial % 6), 8)
    const forwards = valuesOf(meanOfArrays(parts))
    const backwards = valuesOf(meanOfArrays(parts.toReversed()))
    for (const [index, value] of forwards.entries()) assert.ok(Math.abs(value - (backwards[index] as number)) < 1e-12)
  }
})

test('the mean lies between the models, nearer to the heavier ones', () => {
  for (let trial = 0; trial < 100; trial++) {
    const parts = randomParts(3, 8)
    const mean = valuesOf(meanOfArrays(parts))
    const first = valuesOf(parts[0]?.arrays as ArrayRecord)
    const heavier = valuesOf(meanOfArrays(parts.map((one, index) => (index === 0 ? { ...one, weight: 1e6 } : one))))
    for (const [index, value] of mean.entries()) {
      const all = parts.map((one) => valuesOf(one.arrays)[index] as number)
      assert.ok(value >= Math.min(...all) - 1e-12 && value <= Math.max(...all) + 1e-12)
      const target = first[index] as number
      assert.ok(Math.abs((heavier[index] as number) - target) <= Math.abs(value - target) + 1e-9)
    }
  }
})

test('only the ratio of the weights matters, and a model with no weight does not', () => {
  for (let trial = 0; trial < 50; trial++) {
    const parts = randomParts(3, 4)
    const scaled = parts.map((one) => ({ ...one, weight: one.weight * 1024 }))
    assert.deepEqual(valuesOf(meanOfArrays(parts)), valuesOf(meanOfArrays(scaled)))
    const withNone = [...parts, part(new Float64Array([9, 9, 9, 9]), 0)]
    assert.deepEqual(valuesOf(meanOfArrays(parts)), valuesOf(meanOfArrays(withNone)))
  }
})

test('one model alone stays as it is, to the bit', () => {
  const values = Float32Array.from({ length: 100 }, () => fraction() * 1e6 - 5e5)
  assert.deepEqual(
    meanOfArrays([part(values, 17)])
      .getArray('w')
      .values('float32'),
    values,
  )
})

test('a mean that was computed by hand', () => {
  const mean = meanOfArrays([part(new Float32Array([0, 10]), 1), part(new Float32Array([4, -2]), 3)])
  assert.deepEqual(valuesOf(mean), [3, 1])
})

test('floats keep their type, everything else becomes float64', () => {
  const meanOf = (make: (value: number) => NumericArray): NdArray =>
    meanOfArrays([part(make(1), 1), part(make(3), 1)]).getArray('w')
  assert.equal(meanOf((value) => new Float16Array([value])).dtype, 'float16')
  assert.equal(meanOf((value) => new Float32Array([value])).dtype, 'float32')
  for (const make of [
    (value: number) => new Int32Array([value]),
    (value: number) => new BigInt64Array([BigInt(value)]),
    (value: number) => new Uint8Array([value]),
  ])
    assert.deepEqual(meanOf(make).values('float64'), new Float64Array([2]))
})

test('the models themselves are not changed', () => {
  const parts = randomParts(2, 4)
  const before = parts.map((one) => valuesOf(one.arrays))
  meanOfArrays(parts)
  assert.deepEqual(
    parts.map((one) => valuesOf(one.arrays)),
    before,
  )
})

test('models that have no mean are refused with the name of the array', () => {
  const mean =
    (...parts: Parameters<typeof meanOfArrays>[0]) =>
    () =>
      meanOfArrays(parts)
  assert.throws(
    mean(part(new Float32Array(4), 1, [2, 2]), part(new Float32Array(4), 1)),
    /'w' of the replies have different shapes: \(2, 2\) and \(4\)/,
  )
  assert.throws(mean(part(new Float32Array(1), 0), part(new Float32Array(1), 0)), /add up to 0/)
  assert.throws(mean(part(new Float32Array(1), Number.NaN)), /add up to NaN/)
  const complex = { arrays: new ArrayRecord({ w: NdArray.from(new Float32Array(2), [1], 'complex64') }), weight: 1 }
  assert.throws(mean(part(new Float32Array(1), 1), complex), /complex in some and real in others/)
})

test('metrics are averaged by key, lists entry by entry, and the weight is left out', () => {
  const parts = [
    { metrics: new MetricRecord({ n: 1, loss: 4, hits: [1, 2] }), weight: 1 },
    { metrics: new MetricRecord({ hits: [5, 2], loss: float(0), n: 3 }), weight: 3 },
  ]
  const mean = meanOfMetrics(parts, 'n')
  assert.deepEqual(
    [...mean],
    [
      ['loss', 1],
      ['hits', [4, 2]],
    ],
  )
  assert.ok(mean.isFloat('loss') && mean.isFloat('hits'))
  const uneven = [...parts, { metrics: new MetricRecord({ n: 1, loss: 1, hits: [1] }), weight: 1 }]
  assert.throws(() => meanOfMetrics(uneven, 'n'), /'hits' is a list of another length/)
})
