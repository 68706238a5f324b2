import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { createContext } from '../../message/context.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict, type RecordDict as Records } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { ClientApp } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { seededRandom } from '../seeded-random.ts'
import { byName } from '../selection/policies.ts'
import { FedAvg } from './fed-avg.ts'
import { FedBuff } from './fed-buff.ts'

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
let random = seededRandom(1)
mock.method(Math, 'random', () => random())
beforeEach(() => {
  lines = []
  random = seededRandom(1)
})

const modelOf = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float64Array(values)) })
const valuesOf = (arrays: ArrayRecord): number[] => [...arrays.getArray('w').values('float64')]
const replyOf = (arrays: ArrayRecord, metrics = {}): Records =>
  new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 1, ...metrics }) })

/** Adds the id of the node to the model. */
const adding = new ClientApp().train((message, { nodeId }) =>
  message.reply(replyOf(modelOf((valuesOf(message.content.arrays('arrays'))[0] as number) + Number(nodeId)))),
)
const failing = new ClientApp().train(() => {
  throw new Error('no data')
})

test('a step adds the mean of the updates, each weighted by its staleness', () => {
  const buffer = new FedBuff({ bufferSize: 2, serverLearningRate: 0.5 }).buffer()
  // Two updates: (3, -2) of this step, and (8, 4) of three steps ago, which counts 1/√4.
  buffer.add({ received: modelOf(1, 1), content: replyOf(modelOf(4, -1), { loss: float(1) }), steps: 0 })
  assert.equal(buffer.isFull, false)
  buffer.add({ received: modelOf(0, 2), content: replyOf(modelOf(8, 6), { loss: float(3) }), steps: 3 })
  assert.equal(buffer.isFull, true)
  // w + 0.5 (1 (3, -2) + 0.5 (8, 4)) / 2
  assert.deepEqual(valuesOf(buffer.stepFrom(modelOf(10, 20))), [11.75, 20])
  assert.deepEqual(buffer.metrics().toObject(), { loss: 2, 'mean-staleness': 1.5 })
})

test('fast nodes train again while a slow one still works on an old model', async () => {
  const grid = new InMemoryGrid([{ app: adding }, { app: adding }, { app: adding }], {
    clock: 'virtual',
    faults: { 'node-2': { delay: 10 }, 'node-3': { delay: 10 }, 'node-4': { delay: 25 } },
  })
  const startedAt = grid.clock.now()
  const seen: number[] = []
  const { arrays } = await new FedBuff({ bufferSize: 2, staleness: (steps) => 10 ** -steps }).start(grid, modelOf(0), {
    numUpdates: 4,
    onRound: (_update, result) => void seen.push(...valuesOf(result.arrays)),
  })
  // 10 s and 20 s: (2 + 3) / 2. 30 s: node 4 has missed two steps, so (4 / 100 + 2) / 2, and then 3 waits in the buffer.
  assert.deepEqual(seen.slice(0, 3), [2.5, 5, 6.02])
  assert.equal(seen.length, 4)
  assert.deepEqual(valuesOf(arrays), [seen[3]])
  assert.equal(grid.clock.now() - startedAt, 40_000)
  const configs = grid.sent.map(({ content }) => content.config('config').getNumber('server-round'))
  assert.deepEqual(configs.slice(0, 7), [1, 1, 1, 2, 2, 3, 3])
})

test('nodes that leave or do not reply are replaced, and a node that fails waits for the next step', async () => {
  const grid = new InMemoryGrid([{ app: adding }, { app: adding }, { app: failing }, { app: adding }], {
    clock: 'virtual',
    faults: { 'node-2': { delay: '10m', leavesAfter: '1m' }, 'node-3': { drop: 1 }, 'node-5': { delay: '1m' } },
  })
  const { arrays } = await new FedBuff({ bufferSize: 2, concurrency: 2 }).start(grid, modelOf(0), {
    numUpdates: 2,
    timeout: '5m',
  })
  assert.deepEqual(valuesOf(arrays), [10])
  assert.ok(lines.includes('INFO :      \t> Received error in reply from node 4: no data (node node-4)\n'))
})

test('a training in which every node fails ends with the reason, and so does one without nodes', async () => {
  const grid = new InMemoryGrid([{ app: failing }, { app: failing }], { clock: 'virtual' })
  await assert.rejects(new FedBuff().start(grid, modelOf(0)), /No node could train for update 1\. Node \d: no data/)
  assert.equal(grid.sent.length, 6)
  const options = { select: byName('hospital-a'), timeout: '1m' } as const
  await assert.rejects(new FedBuff().start(grid, modelOf(0), options), /No node was there to train for 60 s/)
})

test('updates that are too old are dropped, with a message', async () => {
  const grid = new InMemoryGrid([{ app: adding }, { app: adding }], {
    clock: 'virtual',
    faults: { 'node-2': { delay: 10 }, 'node-3': { delay: 45 } },
  })
  const strategy = new FedBuff({ bufferSize: 1, maxStaleness: 3 })
  const { arrays } = await strategy.start(grid, modelOf(0), { numUpdates: 6 })
  assert.deepEqual(valuesOf(arrays), [12])
  assert.ok(lines.includes('INFO :      \t> Dropped the update of node 3, which missed 4 steps of the model\n'))
})

test('a training goes on from its checkpoint, and stops early', async () => {
  const nodes = [{ app: adding }, { app: adding }]
  const grid = new InMemoryGrid(nodes, { clock: 'virtual' })
  const strategy = () => new FedBuff({ bufferSize: 1, concurrency: 1 })
  const lost = strategy().start(grid, modelOf(0), {
    numUpdates: 9,
    select: byName('node-2'),
    checkpoint: createContext(),
    onRound: (update) => {
      if (update === 4) throw new Error('the process was lost')
    },
  })
  await assert.rejects(lost, /the process was lost/)
  const seen: number[] = []
  const { arrays } = await strategy().start(new InMemoryGrid(nodes, { clock: 'virtual' }), modelOf(99), {
    numUpdates: 9,
    select: byName('node-2'),
    checkpoint: createContext({ state: grid.saved as Records }),
    onRound: (update) => void seen.push(update),
    shouldStop: (update) => update === 6,
  })
  assert.deepEqual(seen, [4, 5, 6])
  assert.deepEqual(valuesOf(arrays), [12])
})

test('options that make no sense are refused with their name', async () => {
  assert.throws(() => new FedBuff({ bufferSize: 0 }), /FedBuff: bufferSize must be a whole number of 1 or more, not 0/)
  assert.throws(() => new FedBuff({ maxStaleness: 1.5 }), /FedBuff: maxStaleness/)
  const buffer = new FedBuff({ staleness: () => Number.NaN }).buffer()
  const update = { received: modelOf(0), content: replyOf(modelOf(1)), steps: 2 }
  assert.throws(() => buffer.add(update), /staleness\(2\) must be a number of 0 or more, not NaN/)
  const short = { received: modelOf(0, 1), content: replyOf(modelOf(1)), steps: 0 }
  assert.throws(() => new FedBuff().buffer().add(short), /'w' of a reply has another shape/)
})

/** Nodes with data of their own, and speeds that are log-normal: linear regression with 8 weights. */
function fleet(): { grid: InMemoryGrid; lossOf: (arrays: ArrayRecord) => number } {
  const below = randomFrom(11)
  const uniform = (): number => (below(1_000_000) + 0.5) / 1_000_000
  const normal = (): number => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
  const truth = Array.from({ length: 8 }, normal)
  const data = Array.from({ length: 40 }, () => {
    const own = truth.map((weight) => weight + 0.1 * normal())
    return Array.from({ length: 20 }, () => {
      const x = own.map(normal)
      return { x, y: x.reduce((sum, value, index) => sum + value * (own[index] as number), 0.1 * normal()) }
    })
  })
  const errorOf = (w: readonly number[], { x, y }: { x: number[]; y: number }): number =>
    x.reduce((sum, value, index) => sum + value * (w[index] as number), -y)
  const app = new ClientApp().train((message, { nodeConfig }) => {
    const w = valuesOf(message.content.arrays('arrays'))
    for (const example of data[Number(nodeConfig.partition)] as (typeof data)[number]) {
      const error = errorOf(w, example)
      for (const [index, value] of example.x.entries()) w[index] = (w[index] as number) - 0.01 * error * value
    }
    return message.reply(replyOf(modelOf(...w)))
  })
  const meanMinutes = data.map(() => Math.exp(normal()))
  const grid = new InMemoryGrid(
    data.map((_, partition) => ({ app, nodeConfig: { partition: BigInt(partition) } })),
    {
      clock: 'virtual',
      faults: Object.fromEntries(
        meanMinutes.map((minutes, index) => [
          `node-${index + 2}`,
          { delay: () => 60 * minutes * Math.exp(0.25 * normal()) },
        ]),
      ),
    },
  )
  const all = data.flat()
  const lossOf = (arrays: ArrayRecord): number => {
    const w = valuesOf(arrays)
    return all.reduce((sum, example) => sum + errorOf(w, example) ** 2, 0) / all.length
  }
  return { grid, lossOf }
}

test('FedBuff reaches the loss of FedAvg in less than half of the time if speeds are log-normal', async () => {
  const byRounds = fleet()
  const startedAt = byRounds.grid.clock.now()
  const { arrays } = await new FedAvg({ fractionTrain: 0.25, fractionEvaluate: 0 }).start(
    byRounds.grid,
    modelOf(...Array(8).fill(0)),
    { numRounds: 15 },
  )
  const goal = byRounds.lossOf(arrays)
  const roundsTook = byRounds.grid.clock.now() - startedAt

  const byBuffer = fleet()
  const result = await new FedBuff({ bufferSize: 5, concurrency: 10 }).start(
    byBuffer.grid,
    modelOf(...Array(8).fill(0)),
    { numUpdates: 200, shouldStop: (_update, result) => byBuffer.lossOf(result.arrays) <= goal },
  )
  assert.ok(byBuffer.lossOf(result.arrays) <= goal, 'FedBuff did not reach the loss')
  assert.ok(byBuffer.grid.clock.now() - startedAt < roundsTook / 2, 'FedBuff took longer')
  assert.ok(goal < 0.5)
})
