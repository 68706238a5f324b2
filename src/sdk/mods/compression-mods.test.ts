import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp, type Mod } from '../client-app.ts'
import { changeOf, quantized, restored, sparse } from '../compression/compressed-array.ts'
import { CompressedUpdates } from '../compression/compressed-updates.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { SecureAggregation } from '../secure-aggregation/secure-aggregation.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { FedMedian } from '../strategy/fed-median.ts'
import type { Strategy } from '../strategy/strategy.ts'
import { quantize, topK } from './compression-mods.ts'

mock.method(process.stderr, 'write', () => true)

const inner = () => new FedAvg({ fractionEvaluate: 0 })
const floats = (values: readonly number[], shape?: readonly number[]): NdArray =>
  NdArray.from(Float32Array.from(values), shape)

test('quantised changes are the bytes worked out by hand', () => {
  const model = floats([1, 1, 1, 1], [2, 2])
  const change = changeOf('w', model, floats([1, 2, 1.5, 52], [2, 2])) as Float64Array
  // Changes 0, 1, 0.5 and 51: a step of 0.2, so that they are 0, 5, 2.5 (up from one half on) and 255 steps.
  const draws = [0, 0, 0.5, 0]
  const array = quantized(model, change, 8, () => draws.shift() as number)
  assert.deepEqual([array.stype, array.shape, array.dtype], ['trellis.quantized', [2, 2], 'float32'])
  assert.deepEqual([...array.data.subarray(16)], [0, 5, 3, 255])
  const head = Buffer.from(array.data)
  assert.deepEqual([head.readDoubleLE(0), head.readDoubleLE(8)], [0, 0.2])
  const [a, b, c, d] = restored('w', model, array).values('float32')
  assert.deepEqual([a, b, d], [1, 2, 52])
  assert.equal(c, Math.fround(1 + 0.2 * 3))
})

test('the largest changes are sent, and the others are left for later', () => {
  const model = floats([0, 0, 0, 0])
  const { array, rest } = sparse(model, Float64Array.of(0.5, -4, 0.25, 2), 2)
  const bytes = Buffer.from(array.data)
  assert.deepEqual(
    [0, 4, 8].map((at) => bytes.readUInt32LE(at)),
    [2, 1, 3],
  )
  assert.deepEqual(
    [12, 16].map((at) => bytes.readFloatLE(at)),
    [-4, 2],
  )
  assert.deepEqual([...rest], [0.5, 0, 0.25, 0])
  assert.deepEqual([...restored('w', floats([1, 1, 1, 1]), array).values('float32')], [1, -3, 1, 3])
})

test('bytes that do not fit the model are rejected', () => {
  const model = floats([0, 0])
  const { array } = sparse(model, Float64Array.of(1, 2), 1)
  const wrong = (data: Uint8Array, stype = array.stype): NdArray => new NdArray({ ...array, shape: [2], stype, data })
  const far = Uint8Array.from(array.data)
  far[4] = 9
  const many = Uint8Array.from(array.data)
  many.fill(255, 0, 4)
  for (const bad of [
    ...[wrong(far), wrong(many), wrong(array.data.subarray(1)), wrong(new Uint8Array())],
    wrong(new Uint8Array(17), 'trellis.quantized'),
  ])
    assert.throws(() => restored('w', model, bad), /compressed array 'w' does not fit the model/)
})

/** Gradient descent on the squared distance from an optimum, another one for each node. */
function descending(optimum: readonly number[], mods: readonly Mod[], rate: number): ClientApp {
  return new ClientApp({ mods }).train((message) => {
    const model = message.content.arrays('arrays')
    const w = model.getArray('w').values('float32')
    const arrays = new ArrayRecord([
      ['w', floats([...w].map((value, index) => value - rate * (value - (optimum[index] as number))))],
      ['seen', model.getArray('seen')],
    ])
    return message.reply(new RecordDict({ arrays, m: new MetricRecord({ 'num-examples': 1 }) }))
  })
}

const size = 20
const start = () => new ArrayRecord({ w: floats(new Array(size).fill(0)), seen: NdArray.from(new BigInt64Array([7n])) })

/** The distance from the mean of the optima after some rounds. */
async function distance(modOf: () => Mod[], strategy: Strategy, numRounds: number, rate = 0.2): Promise<number> {
  const random = randomFrom(4)
  const optima = Array.from({ length: 4 }, () => Array.from({ length: size }, () => random(2000) / 100 - 10))
  const grid = new InMemoryGrid(optima.map((optimum) => ({ app: descending(optimum, modOf(), rate) })))
  const { arrays } = await strategy.start(grid, start(), { numRounds })
  assert.deepEqual([...arrays.getArray('seen').values()].map(Number), [7])
  const mean =
    optima[0]?.map((_, index) => optima.reduce((sum, optimum) => sum + (optimum[index] as number) / 4, 0)) ?? []
  return Math.hypot(
    ...[...arrays.getArray('w').values('float32')].map((value, index) => value - (mean[index] as number)),
  )
}

test('top-k with error feedback reaches the optimum of all nodes; without it, it does not', async () => {
  const mods = (errorFeedback: boolean) => () => [topK({ fraction: 0.2, errorFeedback })]
  const withFeedback = await distance(mods(true), new CompressedUpdates(inner()), 120, 0.05)
  const without = await distance(mods(false), new CompressedUpdates(inner()), 120, 0.05)
  assert.ok(withFeedback < 1.5 && without > 4 * withFeedback, `${withFeedback}, ${without}`)
})

test('quantised updates reach the optimum of all nodes, with any strategy', async () => {
  const random = randomFrom(8)
  const mods = (bits: 8 | 16) => () => [quantize({ bits, random: () => random(2 ** 20) / 2 ** 20 })]
  assert.ok((await distance(mods(8), new CompressedUpdates(inner()), 60)) < 0.3)
  assert.ok((await distance(mods(16), new CompressedUpdates(inner()), 60)) < 0.01)
  const median = await distance(mods(16), new CompressedUpdates(new FedMedian({ fractionEvaluate: 0 })), 20)
  const plain = await distance(() => [], new FedMedian({ fractionEvaluate: 0 }), 20)
  assert.ok(Math.abs(median - plain) < 0.01)
})

test('a change that is not finite fails its round, and the next rounds are as before', async () => {
  const model = new ArrayRecord({ w: NdArray.from(new Float16Array(2)) })
  for (const mod of [quantize(), topK({ fraction: 0.5 })])
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      let calls = 0
      const app = new ClientApp({ mods: [mod] }).train((message) => {
        const arrays = new ArrayRecord({ w: NdArray.from(Float16Array.of(1, calls++ === 0 ? bad : 1)) })
        return message.reply(new RecordDict({ arrays, m: new MetricRecord({ 'num-examples': 1 }) }))
      })
      const strategy = new CompressedUpdates(
        new FedAvg({ fractionEvaluate: 0, minTrainNodes: 1, minAvailableNodes: 1 }),
      )
      const { arrays, trainMetricsClientapp } = await strategy.start(new InMemoryGrid([{ app }]), model, {
        numRounds: 4,
      })
      assert.deepEqual([...trainMetricsClientapp.keys()], [2, 3, 4])
      assert.ok([...arrays.getArray('w').values('float16')].every(Number.isFinite))
    }
  const far = Float64Array.of(2 * 65504)
  assert.throws(() => sparse(NdArray.from(new Float16Array(1)), far, 1), /not finite/)
})

test('compressed updates without the wrapper, and with secure aggregation, are refused', async () => {
  await assert.rejects(
    distance(() => [topK({ fraction: 0.5 })], inner(), 1),
    /stype 'trellis.sparse'/,
  )
  assert.throws(() => new CompressedUpdates(new SecureAggregation(inner())), /masked updates cannot be compressed/)
  assert.throws(() => topK({ fraction: 0 }), /fraction must be a number above 0/)
  assert.throws(() => quantize({ bits: 4 as 8 }), /bits must be 8 or 16/)
})
