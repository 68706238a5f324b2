import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { randomFrom, shuffle } from '../../../test/harness/random.ts'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { ClientApp, type ClientFn } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { FedAvg } from './fed-avg.ts'
import { Replies } from './reply-stream.ts'

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
beforeEach(() => {
  lines = []
})

const modelOf = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float32Array(values)) })
const valuesOf = (arrays: ArrayRecord): number[] => [...arrays.getArray('w').values('float32')]
const gridOf = (...apps: ClientApp[]): InMemoryGrid => new InMemoryGrid(apps.map((app) => ({ app })))
const replying = (...records: ConstructorParameters<typeof RecordDict>): ClientApp =>
  new ClientApp().train((message) => message.reply(new RecordDict(...records)))
const failing = new ClientApp().train(refuse).evaluate(refuse)
function refuse(): Message {
  throw new Error('no data')
}

/** Moves every weight by `step` and claims `examples`. */
function stepping(step: number, examples: number): ClientApp {
  const train: ClientFn = (message) => {
    const values = valuesOf(message.content.arrays('arrays')).map((value) => value + step)
    const metrics = new MetricRecord({ 'num-examples': examples, loss: float(step) })
    return message.reply(new RecordDict({ arrays: modelOf(...values), metrics }))
  }
  const evaluate: ClientFn = (message) =>
    message.reply(new RecordDict({ m: new MetricRecord({ 'num-examples': examples, loss: step }) }))
  return new ClientApp().train(train).evaluate(evaluate)
}

test('the new model is the mean of the nodes’ models, weighted by their examples', async () => {
  const grid = gridOf(stepping(1, 1), stepping(4, 3))
  const result = await new FedAvg().start(grid, modelOf(0, 10), { numRounds: 2 })
  // Each round moves by (1 * 1 + 4 * 3) / 4 = 3.25.
  assert.deepEqual(valuesOf(result.arrays), [6.5, 16.5])
  assert.equal(result.trainMetricsClientapp.get(1)?.get('loss'), 3.25)
  assert.equal(result.evaluateMetricsClientapp.get(2)?.get('loss'), 3.25)
  assert.equal(result.trainMetricsClientapp.get(1)?.has('num-examples'), false)
  const rounds = grid.sent.map((message) => message.content.config('config').get('server-round'))
  assert.deepEqual(rounds, [1, 1, 1, 1, 2, 2, 2, 2])
})

test('the same replies give the same bits in whatever order they arrive', async () => {
  const random = randomFrom(12)
  const fraction = (): number => random(2 ** 32) / 2 ** 32
  const replies = [2n, 3n, 4n, 5n].map((dstNodeId) =>
    Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId }).reply(
      new RecordDict({
        arrays: modelOf(fraction(), fraction(), fraction()),
        metrics: new MetricRecord({ 'num-examples': 1 + random(99), loss: fraction() }),
      }),
    ),
  )
  const aggregateOf = (some: readonly Message[]) =>
    new FedAvg().aggregateTrain({ round: 1, replies: Replies.of(some), current: modelOf() })
  const expected = await aggregateOf(replies)
  for (let trial = 0; trial < 20; trial++) {
    const shuffled = shuffle(replies, random)
    const { arrays, metrics } = await aggregateOf(shuffled)
    assert.deepEqual(arrays?.getArray('w').data, expected.arrays?.getArray('w').data)
    assert.deepEqual(metrics?.toObject(), expected.metrics?.toObject())
  }
})

test('the caller’s configuration reaches the nodes and stays as it was', async () => {
  const grid = gridOf(stepping(1, 1), stepping(1, 1))
  const trainConfig = new ConfigRecord({ lr: 0.1 })
  await new FedAvg({ fractionEvaluate: 0 }).start(grid, modelOf(0), { numRounds: 1, trainConfig })
  assert.deepEqual(
    [...(grid.sent[0]?.content.config('config') ?? [])],
    [
      ['lr', 0.1],
      ['server-round', 1],
    ],
  )
  assert.deepEqual(trainConfig.toObject(), { lr: 0.1 })
  assert.ok(grid.sent.every(({ metadata }) => metadata.messageType === 'train'))
})

test('records travel under the names that were chosen', async () => {
  const train: ClientFn = (message) => {
    const metrics = new MetricRecord({ seen: message.content.config('settings').getNumber('server-round') })
    return message.reply(new RecordDict({ m: metrics, new: message.content.arrays('model') }))
  }
  const app = new ClientApp().train(train)
  const strategy = new FedAvg({
    arrayrecordKey: 'model',
    configrecordKey: 'settings',
    weightedByKey: 'seen',
    fractionEvaluate: 0n,
  })
  assert.deepEqual(valuesOf((await strategy.start(gridOf(app, app), modelOf(3), { numRounds: 1n })).arrays), [3])
})

test('nodes that fail are named in the log and left out', async () => {
  const grid = gridOf(stepping(1, 5), failing)
  assert.deepEqual(valuesOf((await new FedAvg().start(grid, modelOf(1), { numRounds: 1 })).arrays), [2])
  assert.ok(lines.includes('INFO :      aggregate_train: Received 1 results and 1 failures\n'))
  assert.ok(lines.includes('INFO :      \t> Received error in reply from node 3: no data (node node-3)\n'))
})

test('a round in which all nodes fail keeps the model', async () => {
  const result = await new FedAvg().start(gridOf(failing, failing), modelOf(1), { numRounds: 2 })
  assert.deepEqual(valuesOf(result.arrays), [1])
  assert.equal(result.trainMetricsClientapp.size, 0)
})

test('replies that do not fit together fail the run with what is wrong', async () => {
  const metrics = new MetricRecord({ 'num-examples': 1 })
  const cases: [ClientApp, ClientApp, RegExp][] = [
    [
      replying({ arrays: modelOf(1), metrics: new MetricRecord({ loss: 1 }) }),
      stepping(1, 1),
      /same name and the same keys, but 'metrics' with loss came beside 'metrics' with num-examples, loss/,
    ],
    [
      replying({ a: modelOf(1), m: new MetricRecord() }),
      replying({ a: modelOf(1), m: new MetricRecord() }),
      /no 'num-examples' to weight them by/,
    ],
    [
      replying({ a: modelOf(1), m: new MetricRecord({ 'num-examples': [1] }) }),
      replying({ a: modelOf(1), m: new MetricRecord({ 'num-examples': [1] }) }),
      /must be one number/,
    ],
    [replying({ a: modelOf(1), metrics }), replying({ b: modelOf(1), metrics }), /'a' with w came beside 'b' with w/],
    [
      replying({ a: new ArrayRecord({ x: NdArray.from(new Int8Array(1)) }), metrics }),
      replying({ a: modelOf(1), metrics }),
      /'a' with x came beside 'a' with w/,
    ],
    [replying({ metrics }), replying({ metrics }), /exactly one ArrayRecord, but one holds 0/],
    [replying({ a: modelOf(1), b: modelOf(1), metrics }), stepping(1, 1), /exactly one ArrayRecord, but one holds 2/],
    [replying({ a: modelOf(1) }), replying({ a: modelOf(1) }), /exactly one MetricRecord, but one holds 0/],
    [
      replying({ a: modelOf(1), metrics }),
      replying({ a: modelOf(1, 2), metrics }),
      /'w' of the replies have different shapes/,
    ],
  ]
  for (const [one, other, pattern] of cases)
    await assert.rejects(new FedAvg().start(gridOf(one, other), modelOf(1)), {
      name: 'InconsistentRepliesError',
      message: pattern,
    })
})

test('a fraction asks that share of the nodes, but at least the minimum', async () => {
  const apps = Array.from({ length: 10 }, () => stepping(1, 1))
  const asked = async (options: ConstructorParameters<typeof FedAvg>[0]): Promise<number[]> => {
    const grid = gridOf(...apps)
    await new FedAvg(options).start(grid, modelOf(1), { numRounds: 1 })
    const nodes = (type: string) =>
      grid.sent.flatMap(({ metadata }) => (metadata.messageType === type ? [metadata.dstNodeId] : []))
    return ['train', 'evaluate'].map((type) => {
      assert.equal(new Set(nodes(type)).size, nodes(type).length)
      return nodes(type).length
    })
  }
  assert.deepEqual(await asked({ fractionTrain: 0.35, fractionEvaluate: 0.1 }), [3, 2])
  assert.deepEqual(await asked({ fractionTrain: 0.1, minTrainNodes: 0, minEvaluateNodes: 7 }), [1, 10])
  assert.deepEqual(await asked({ fractionTrain: 0, fractionEvaluate: 0.5, minEvaluateNodes: 1 }), [0, 5])
  assert.deepEqual(await asked({ fractionTrain: 0.01, minTrainNodes: 9, fractionEvaluate: 0 }), [9, 0])
})

test('functions of the app put metrics together instead', async () => {
  const most = (contents: readonly RecordDict[], key: string): MetricRecord =>
    new MetricRecord({ most: Math.max(...contents.map((c) => [...c.metricRecords.values()][0]?.getNumber(key) ?? 0)) })
  const strategy = new FedAvg({ trainMetricsAggrFn: most, evaluateMetricsAggrFn: most })
  const result = await strategy.start(gridOf(stepping(1, 3), stepping(1, 8)), modelOf(1), { numRounds: 1 })
  assert.deepEqual(result.trainMetricsClientapp.get(1)?.toObject(), { most: 8 })
  assert.deepEqual(result.evaluateMetricsClientapp.get(1)?.toObject(), { most: 8 })
})

test('options that make no sense are refused with their name', () => {
  assert.throws(() => new FedAvg({ fractionTrain: 1.5 }), /fractionTrain must be a number from 0 to 1, not 1.5/)
  assert.throws(() => new FedAvg({ fractionEvaluate: Number.NaN }), /fractionEvaluate/)
  assert.throws(() => new FedAvg({ minTrainNodes: -1 }), /minTrainNodes must be a whole number of nodes, not -1/)
  assert.throws(() => new FedAvg({ minAvailableNodes: 2.5 }), /minAvailableNodes/)
})
