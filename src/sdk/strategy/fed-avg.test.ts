import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NumericArray } from '../../message/dtype.ts'
import { errorCodes, type Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid, Progress } from '../grid.ts'
import { FedAvg } from './fed-avg.ts'
import { meanOfArrays } from './weighted-mean.ts'

/** A grid whose nodes answer with a function each. */
class FakeGrid implements Grid {
  readonly runId = 1n
  readonly sent: Message[] = []
  readonly progress: Progress[] = []
  readonly #nodes: ReadonlyMap<bigint, (message: Message) => Message>
  constructor(nodes: ReadonlyMap<bigint, (message: Message) => Message>) {
    this.#nodes = nodes
  }
  async getNodeIds(): Promise<bigint[]> {
    return [...this.#nodes.keys()]
  }
  async pushMessages(): Promise<undefined[]> {
    return []
  }
  async pullMessages(): Promise<Message[]> {
    return []
  }
  async sendAndReceive(messages: Iterable<Message>): Promise<Message[]> {
    const all = [...messages]
    this.sent.push(...all)
    return all.map((message) => (this.#nodes.get(message.metadata.dstNodeId) as (m: Message) => Message)(message))
  }
  reportProgress(progress: Progress): void {
    this.progress.push(progress)
  }
}

const modelOf = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float32Array(values)) })
const valuesOf = (arrays: ArrayRecord): number[] => [...(arrays.get('w') as NdArray).values()].map(Number)

/** A node that moves every weight by `step` and claims `examples`. */
const node =
  (step: number, examples: number) =>
  (message: Message): Message => {
    if (message.metadata.messageType === 'evaluate')
      return message.reply(new RecordDict({ m: new MetricRecord({ 'num-examples': examples, loss: step }) }))
    const arrays = modelOf(...valuesOf(message.content.arrays('arrays')).map((value) => value + step))
    const metrics = new MetricRecord({ 'num-examples': examples, loss: float(step) })
    return message.reply(new RecordDict({ arrays, metrics }))
  }

test('the new model is the mean of the nodes’ models, weighted by their examples', async () => {
  const grid = new FakeGrid(
    new Map([
      [2n, node(1, 1)],
      [3n, node(4, 3)],
    ]),
  )
  const result = await new FedAvg().start(grid, modelOf(0, 10), { numRounds: 2 })
  // Each round moves by (1 * 1 + 4 * 3) / 4 = 3.25.
  assert.deepEqual(valuesOf(result.arrays), [6.5, 16.5])
  assert.equal(result.trainMetricsClientapp.get(1)?.get('loss'), 3.25)
  assert.equal(result.evaluateMetricsClientapp.get(2)?.get('loss'), 3.25)
  assert.equal(result.trainMetricsClientapp.get(1)?.has('num-examples'), false)
  const rounds = grid.sent.map((message) => message.content.config('config').get('server-round'))
  assert.deepEqual(rounds, [1, 1, 1, 1, 2, 2, 2, 2])
  assert.deepEqual(grid.progress.at(-1), { round: 2, rounds: 2, phase: 'round-end', metrics: { loss: 3.25 } })
})

test('the caller’s configuration reaches the nodes and stays as it was', async () => {
  const grid = new FakeGrid(
    new Map([
      [2n, node(1, 1)],
      [3n, node(1, 1)],
    ]),
  )
  const trainConfig = new ConfigRecord({ lr: 0.1 })
  await new FedAvg({ fractionEvaluate: 0 }).start(grid, modelOf(0), { numRounds: 1, trainConfig })
  assert.deepEqual(grid.sent[0]?.content.config('config').toObject(), { lr: 0.1, 'server-round': 1 })
  assert.deepEqual(trainConfig.toObject(), { lr: 0.1 })
  assert.equal(grid.sent.length, 2)
})

test('nodes that fail are left out, and a round in which all fail keeps the model', async () => {
  const failing = (message: Message): Message =>
    message.replyError({ code: errorCodes.clientAppRaisedException, reason: 'no data' })
  const some = new FakeGrid(
    new Map([
      [2n, node(1, 5)],
      [3n, failing],
    ]),
  )
  assert.deepEqual(valuesOf((await new FedAvg().start(some, modelOf(1), { numRounds: 1 })).arrays), [2])
  const none = new FakeGrid(
    new Map([
      [2n, failing],
      [3n, failing],
    ]),
  )
  const result = await new FedAvg().start(none, modelOf(1), { numRounds: 1 })
  assert.equal(result.arrays.size, 0)
  assert.equal(result.trainMetricsClientapp.size, 0)
})

test('replies that do not fit together fail the run with what is wrong', async () => {
  const without = (message: Message): Message =>
    message.reply(new RecordDict({ arrays: modelOf(1), metrics: new MetricRecord({ loss: 1 }) }))
  const grid = new FakeGrid(
    new Map([
      [2n, without],
      [3n, without],
    ]),
  )
  await assert.rejects(new FedAvg().start(grid, modelOf(1)), /no 'num-examples'/)
  const named =
    (key: string) =>
    (message: Message): Message =>
      message.reply(
        new RecordDict({
          arrays: new ArrayRecord({ [key]: NdArray.from(new Float32Array([1])) }),
          metrics: new MetricRecord({ 'num-examples': 1 }),
        }),
      )
  const differing = new FakeGrid(
    new Map([
      [2n, named('a')],
      [3n, named('b')],
    ]),
  )
  await assert.rejects(new FedAvg().start(differing, modelOf(1)), /same keys/)
})

test('a fraction asks that share of the nodes, but at least the minimum', async () => {
  const nodes = new Map(Array.from({ length: 10 }, (_, index) => [BigInt(index + 2), node(1, 1)] as const))
  const grid = new FakeGrid(nodes)
  await new FedAvg({ fractionTrain: 0.35, fractionEvaluate: 0.1 }).start(grid, modelOf(1), { numRounds: 1 })
  const asked = (type: string) => grid.sent.filter(({ metadata }) => metadata.messageType === type)
  assert.equal(asked('train').length, 3)
  assert.equal(asked('evaluate').length, 2)
  assert.equal(new Set(asked('train').map(({ metadata }) => metadata.dstNodeId)).size, 3)
})

test('evaluation at the server sees the model before training and after each round', async () => {
  const grid = new FakeGrid(
    new Map([
      [2n, node(1, 1)],
      [3n, node(1, 1)],
    ]),
  )
  const seen: [number, number[]][] = []
  const result = await new FedAvg().start(grid, modelOf(0), {
    numRounds: 2,
    evaluateFn: (round, arrays) => {
      seen.push([round, valuesOf(arrays)])
      return new MetricRecord({ accuracy: float(round / 2) })
    },
  })
  assert.deepEqual(seen, [
    [0, [0]],
    [1, [1]],
    [2, [2]],
  ])
  assert.equal(result.evaluateMetricsServerapp.get(2)?.get('accuracy'), 1)
})

test('a mean does not depend on the order of the replies, and equal models stay as they are', () => {
  for (let trial = 0; trial < 50; trial++) {
    const parts = Array.from({ length: 4 }, () => ({
      arrays: new ArrayRecord({ w: NdArray.from(Float64Array.from({ length: 8 }, () => Math.random() * 2 - 1)) }),
      weight: 1 + Math.floor(Math.random() * 100),
    }))
    const forwards = valuesOf(meanOfArrays(parts))
    const backwards = valuesOf(meanOfArrays(parts.toReversed()))
    for (const [index, value] of forwards.entries()) {
      assert.ok(Math.abs(value - (backwards[index] as number)) < 1e-12)
      const all = parts.map((part) => valuesOf(part.arrays)[index] as number)
      assert.ok(value >= Math.min(...all) - 1e-12 && value <= Math.max(...all) + 1e-12)
    }
  }
  const same = [1, 2, 5].map((weight) => ({ arrays: modelOf(0.1, -3), weight }))
  for (const [index, value] of valuesOf(meanOfArrays(same)).entries())
    assert.ok(Math.abs(value - ([0.1, -3][index] as number)) < 1e-6)
})

test('floats keep their type in a mean, integers become float64', () => {
  const meanOf = (make: (value: number) => NumericArray): NdArray =>
    meanOfArrays([1, 3].map((value) => ({ arrays: new ArrayRecord({ w: NdArray.from(make(value)) }), weight: 1 }))).get(
      'w',
    ) as NdArray
  assert.equal(meanOf((value) => new Float16Array([value])).dtype, 'float16')
  assert.equal(meanOf((value) => new Float32Array([value])).dtype, 'float32')
  for (const make of [
    (value: number) => new Int32Array([value]),
    (value: number) => new BigInt64Array([BigInt(value)]),
    (value: number) => new Uint8Array([value]),
  ]) {
    const mean = meanOf(make)
    assert.equal(mean.dtype, 'float64')
    assert.deepEqual([...mean.values()], [2])
  }
})
