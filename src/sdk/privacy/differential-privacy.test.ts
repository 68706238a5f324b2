import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { clippedModel, withNoise } from './clipping.ts'
import { DifferentialPrivacyServerSideAdaptiveClipping } from './dp-adaptive-clipping.ts'
import { DifferentialPrivacyServerSideFixedClipping } from './dp-fixed-clipping.ts'
import { gaussianFrom, secureGaussian } from './gaussian.ts'

mock.method(process.stderr, 'write', () => true)

const modelOf = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float64Array(values)) })
const valuesOf = (arrays: ArrayRecord): number[] => [...arrays.getArray('w').values('float64')]

/** The largest distance between the share of numbers below a value and the normal distribution (Kolmogorov, Smirnov). */
function distanceFromNormal(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const distances = sorted.map((value, index) => Math.abs((index + 0.5) / sorted.length - normalBelow(value)))
  return Math.max(...distances)
}

/** The normal distribution function, by its series. */
function normalBelow(x: number): number {
  let sum = x
  let term = x
  for (let n = 3; Math.abs(term) > 1e-17; n += 2) {
    term *= (x * x) / n
    sum += term
  }
  return 0.5 + (sum * Math.exp(-(x * x) / 2)) / Math.sqrt(2 * Math.PI)
}

test('noise is normally distributed, and its parts are independent', () => {
  const random = randomFrom(5)
  const gaussian = gaussianFrom(() => random(2 ** 32) / 2 ** 32)
  const count = 20_000
  const numbers = Array.from({ length: count }, gaussian)
  // Larger by chance once in a thousand seeds: 1.95 / √n.
  assert.ok(distanceFromNormal(numbers) < 1.95 / Math.sqrt(count))
  const products = numbers.slice(1).map((value, index) => value * (numbers[index] as number))
  assert.ok(Math.abs(products.reduce((sum, value) => sum + value) / count) < 3.3 / Math.sqrt(count))
})

test('noise of the cryptographic generator has mean 0 and deviation 1, and is never the same', () => {
  const [one, other] = [secureGaussian(), secureGaussian()]
  const numbers = Array.from({ length: 10_000 }, one)
  const mean = numbers.reduce((sum, value) => sum + value) / numbers.length
  const variance = numbers.reduce((sum, value) => sum + value * value, 0) / numbers.length
  // Eight standard deviations.
  assert.ok(Math.abs(mean) < 0.08 && Math.abs(variance - 1) < 0.12)
  assert.notDeepEqual(numbers.slice(0, 4), Array.from({ length: 4 }, other))
})

test('noise has the deviation that was asked for in every array, of any type', () => {
  const zeros = new ArrayRecord({
    halves: NdArray.from(new Float16Array(2000)),
    whole: NdArray.from(new BigInt64Array(2000)),
    one: NdArray.from(new Float32Array(1), []),
  })
  const random = randomFrom(6)
  const noisy = withNoise(
    zeros,
    100,
    gaussianFrom(() => random(2 ** 32) / 2 ** 32),
  )
  for (const name of ['halves', 'whole']) {
    const values = Array.from(noisy.getArray(name).values() as Float16Array | BigInt64Array, Number)
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)
    assert.ok(Math.abs(deviation - 100) < 5, `${name}: ${deviation}`)
  }
  assert.notEqual(noisy.getArray('one').values('float32')[0], 0)
})

test('an update is shortened as a whole, single numbers included', () => {
  const model = new ArrayRecord({ w: NdArray.from(new Float64Array(1)), s: NdArray.from(new Float64Array(1), []) })
  const reply = new ArrayRecord({ w: NdArray.from(new Float64Array([3])), s: NdArray.from(new Float64Array([4]), []) })
  const { arrays, isClipped } = clippedModel(model, reply, 1)
  // Flower leaves the single number 4 as it is, so that the node changes the model by more than the norm.
  assert.deepEqual(
    [arrays.getArray('w').values()[0], arrays.getArray('s').values()[0], isClipped],
    [0.6000000000000001, 0.8, true],
  )
})

test('an update that changes nothing stays as it is', () => {
  // Flower divides by its length, and the round fails.
  const { arrays, isClipped } = clippedModel(modelOf(1, 2), modelOf(1, 2), 0.5)
  assert.deepEqual([valuesOf(arrays), isClipped], [[1, 2], false])
})

test('one node moves the model by the norm at most', async () => {
  const far = new ClientApp().train((message) =>
    message.reply(new RecordDict({ a: modelOf(1e6, 0), m: new MetricRecord({ 'num-examples': 1 }) })),
  )
  const strategy = new DifferentialPrivacyServerSideFixedClipping(new FedAvg({ fractionEvaluate: 0 }), {
    noiseMultiplier: 0,
    clippingNorm: 2,
    numSampledClients: 2,
  })
  const grid = new InMemoryGrid([{ app: far }, { app: far }])
  assert.deepEqual(valuesOf((await strategy.start(grid, modelOf(0, 0), { numRounds: 3 })).arrays), [6, 0])
})

test('a norm that adapts ends near the length of the updates with the rule of the paper, and not with Flower’s', async () => {
  const step = new ClientApp().train((message) => {
    const [value] = valuesOf(message.content.arrays('arrays')) as [number]
    return message.reply(new RecordDict({ a: modelOf(value + 3), m: new MetricRecord({ 'num-examples': 1 }) }))
  })
  const normAfter = async (normRule: 'paper' | 'flower'): Promise<number> => {
    const options = { noiseMultiplier: 0, numSampledClients: 2, normRule }
    const strategy = new DifferentialPrivacyServerSideAdaptiveClipping(new FedAvg({ fractionEvaluate: 0 }), options)
    await strategy.start(new InMemoryGrid([{ app: step }, { app: step }]), modelOf(0), { numRounds: 40 })
    return strategy.clippingNorm
  }
  const norm = await normAfter('paper')
  assert.ok(norm > 2.7 && norm < 3.4, String(norm))
  assert.ok((await normAfter('flower')) < 0.01)
})

test('noise on the count that leaves no protection for the model is refused', () => {
  const build = () =>
    new DifferentialPrivacyServerSideAdaptiveClipping(new FedAvg({ fractionEvaluate: 0 }), {
      noiseMultiplier: 1,
      numSampledClients: 10,
    })
  assert.throws(build, /clippedCountStddev \(0.5, by default numSampledClients \/ 20\) must be more than half/)
})
