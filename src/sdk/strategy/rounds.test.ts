import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { ClientApp } from '../client-app.ts'
import { InMemoryGrid, type InMemoryGridOptions } from '../in-memory-grid.ts'
import { byName, notLate } from '../selection/policies.ts'
import { policy } from '../selection/selection.ts'
import { FedAvg } from './fed-avg.ts'
import { FedXgbCyclic } from './fed-xgb-cyclic.ts'
import type { StartOptions } from './start-options.ts'

/** Deadlines, stragglers and what happens after each round, on a virtual clock. */

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
beforeEach(() => {
  lines = []
})

const modelOf = (value: number): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float64Array([value])) })
const weightOf = (arrays: ArrayRecord): number => arrays.getArray('w').values('float64')[0] as number

/** Each node returns the model plus its id. */
const adding = new ClientApp()
  .train((message, { nodeId }) => {
    const arrays = modelOf(weightOf(message.content.arrays('arrays')) + Number(nodeId))
    return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 1, loss: float(1) }) }))
  })
  .evaluate((message) => {
    const loss = float(Math.abs(8 - weightOf(message.content.arrays('arrays'))))
    return message.reply(new RecordDict({ metrics: new MetricRecord({ 'num-examples': 1, loss }) }))
  })

const gridOf = (count: number, options: InMemoryGridOptions = {}): InMemoryGrid =>
  new InMemoryGrid(
    Array.from({ length: count }, () => ({ app: adding })),
    { clock: 'virtual', ...options },
  )

const run = (grid: InMemoryGrid, options: StartOptions) =>
  new FedAvg({ fractionEvaluate: 0 }).start(grid, modelOf(0), options)

test('a round ends at its deadline, and a reply that comes later is dropped with a message', async () => {
  const grid = gridOf(3, { faults: { 'node-4': { delay: '11m' } } })
  const startedAt = grid.clock.now()
  const result = await run(grid, { numRounds: 3, roundDeadline: '10m' })
  assert.equal(weightOf(result.arrays), 7.5)
  assert.equal(grid.clock.now() - startedAt, 30 * 60_000)
  assert.ok(lines.includes('WARNING :   \t> No reply from 1 of 3 nodes (4) within 600 s\n'))
  assert.deepEqual(
    lines.filter((line) => line.includes('late')),
    [
      'INFO :      \t> Dropped a late reply of node 4 (train, round 1)\n',
      'WARNING :   \t> Node 4 was late in 3 rounds in a row: leave it out with select, or allow more time with roundDeadline or timeout.\n',
      'INFO :      \t> Dropped a late reply of node 4 (train, round 2)\n',
    ],
  )
})

test('a round with fewer replies than it needs leaves the model as it was', async () => {
  const faults = { 'node-4': { drop: 1 }, 'node-5': { drop: 1 } }
  const half = await run(gridOf(4, { faults }), { numRounds: 1, roundDeadline: 60, minReplies: 0.5 })
  assert.equal(weightOf(half.arrays), 2.5)
  const three = await run(gridOf(4, { faults }), { numRounds: 1, roundDeadline: 60, minReplies: 3 })
  assert.equal(weightOf(three.arrays), 0)
  assert.equal(three.trainMetricsClientapp.size, 0)
  assert.ok(
    lines.includes(
      'WARNING :   \t> Round 1: 2 of at least 3 replies came within 60 s, so the model stays as it was.\n',
    ),
  )
})

test('with more nodes than are needed the round does not wait for the slowest', async () => {
  const faults = { 'node-2': { delay: 5 }, 'node-3': { delay: '1h' }, 'node-4': { delay: 10 } }
  const grid = gridOf(3, { faults })
  const startedAt = grid.clock.now()
  const result = await run(grid, { numRounds: 1, select: policy((nodes) => Object.assign([...nodes], { enough: 2 })) })
  assert.equal(weightOf(result.arrays), 3)
  assert.equal(grid.clock.now() - startedAt, 10_000)
  assert.ok(lines.includes('INFO :      \t> Enough replies (2). No reply from 1 of 3 nodes (node-3)\n'))
})

test('a policy sees only the nodes that are online, and how they did before', async () => {
  const seen: unknown[] = []
  const grid = gridOf(3, { faults: { 'node-3': { drop: 1 }, 'node-4': { leavesAfter: '90s', delay: 7 } } })
  await run(grid, {
    numRounds: 3,
    roundDeadline: '1m',
    select: (nodes, round, history) => {
      seen.push([
        round,
        nodes.map(({ nodeId, name }) => [name, history.of(nodeId).replied, history.of(nodeId).lateInARow]),
      ])
      return nodes
    },
  })
  assert.deepEqual(seen.slice(0, 3), [
    [
      1,
      [
        ['node-2', 0, 0],
        ['node-3', 0, 0],
        ['node-4', 0, 0],
      ],
    ],
    [
      2,
      [
        ['node-2', 1, 0],
        ['node-3', 0, 1],
        ['node-4', 1, 0],
      ],
    ],
    [
      3,
      [
        ['node-2', 2, 0],
        ['node-3', 0, 2],
      ],
    ],
  ])
})

test('minima that the app does not set do not keep a policy from choosing one node', async () => {
  const one = await run(gridOf(3), { numRounds: 1, select: (nodes) => nodes.slice(1, 2) })
  assert.equal(weightOf(one.arrays), 3)
  const turns = new FedXgbCyclic({ fractionEvaluate: 0 }).start(gridOf(3), modelOf(0), {
    numRounds: 2,
    select: byName('node-4'),
  })
  assert.equal(weightOf((await turns).arrays), 8)
})

test('nodes that are all late are asked again, as many as the round needs', async () => {
  const faults = { 'node-2': { delay: '11m' }, 'node-3': { delay: '11m' }, 'node-4': { delay: '11m' } }
  const asked = async (minTrainNodes?: number) => {
    const grid = gridOf(3, { faults })
    const strategy = new FedAvg({ fractionEvaluate: 0, ...(minTrainNodes ? { minTrainNodes } : {}) })
    await strategy.start(grid, modelOf(0), { numRounds: 3, roundDeadline: '10m', select: notLate({ rounds: 1 }) })
    return grid.sent.map(({ metadata }) => Number(metadata.dstNodeId))
  }
  const inOrder = (nodes: number[]) => nodes.toSorted((a, b) => a - b)
  const one = await asked()
  assert.deepEqual([inOrder(one.slice(0, 3)), one.length], [[2, 3, 4], 6])
  const two = await asked(2)
  assert.deepEqual([inOrder(two.slice(0, 3)), two.length], [[2, 3, 4], 7])
})

test('the best model is kept, and every round is reported to the app', async () => {
  const rounds: number[] = []
  const result = await new FedAvg().start(gridOf(3), modelOf(0), {
    numRounds: 4,
    keepBest: { metric: 'loss', mode: 'min' },
    onRound: (round, { evaluate }) => void rounds.push(round, evaluate.at(round).getNumber('loss')),
  })
  assert.deepEqual(rounds, [1, 5, 2, 2, 3, 1, 4, 4])
  assert.deepEqual([result.best?.round, result.best?.value, weightOf(result.best?.arrays as ArrayRecord)], [3, 1, 9])
  assert.equal(weightOf(result.arrays), 12)
  assert.throws(() => result.evaluate.at(5), /Round 5 has no metrics of evaluation/)
})

test('options of rounds that make no sense are refused with their name', async () => {
  const start = (options: StartOptions) => run(gridOf(2), options)
  await assert.rejects(start({ roundDeadline: 'soon' }), /roundDeadline must be a number of seconds above 0 or a text/)
  await assert.rejects(start({ minReplies: 1.5 }), /minReplies must be a whole number of nodes, or a share below 1/)
  await assert.rejects(start({ numRounds: 1, keepBest: { metric: 'loss', mode: 'least' as never } }), /mode must be/)
  assert.throws(() => gridOf(1, { faults: { hospital: {} } }), /there is no node 'hospital' among: node-2/)
})
