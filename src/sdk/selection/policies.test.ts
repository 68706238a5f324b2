import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MetricRecord } from '../../message/records.ts'
import type { NodeInfo } from '../grid.ts'
import { NodeHistory } from './node-history.ts'
import { all, byName, byTag, notLate, random, roundRobin, weightedBy } from './policies.ts'
import type { SelectNodes } from './selection.ts'

const nodeOf = (id: number, rest: Partial<NodeInfo> = {}): NodeInfo => ({
  nodeId: BigInt(id),
  name: `node-${id}`,
  identity: undefined,
  organization: undefined,
  tags: {},
  status: 'online',
  lastSeenAt: undefined,
  ...rest,
})
const nodes = (count: number): NodeInfo[] => Array.from({ length: count }, (_, index) => nodeOf(index + 2))
const ids = (select: SelectNodes, from: readonly NodeInfo[], round = 1, history = new NodeHistory()): number[] =>
  select(from, round, history)
    .map(({ nodeId }) => Number(nodeId))
    .toSorted((a, b) => a - b)
const replied = (history: NodeHistory, id: number, round: number, reply: { seconds?: number; loss?: number }): void => {
  history.asked(BigInt(id), round)
  const metrics = reply.loss === undefined ? undefined : new MetricRecord({ loss: reply.loss })
  history.replied(BigInt(id), { failed: false, seconds: reply.seconds ?? 1, metrics })
}

test('nodes are chosen by name, certificate, id and tag', () => {
  const some = [
    nodeOf(2, { name: 'hospital-a', tags: { region: 'eu', gpu: 'a100' } }),
    nodeOf(3, { name: undefined, identity: 'hospital-b', tags: { region: 'us' } }),
    nodeOf(4, { tags: { region: 'eu' } }),
  ]
  assert.deepEqual(ids(byName('hospital-a', 'hospital-b', '9'), some), [2, 3])
  assert.deepEqual(ids(byName('4'), some), [4])
  assert.deepEqual(ids(byTag('region', 'eu', 'uk'), some), [2, 4])
  assert.deepEqual(ids(byTag('gpu'), some), [2])
  assert.deepEqual(ids(byTag('toString'), some), [])
  assert.deepEqual(ids(byTag('region', 'eu').and(byTag('gpu')), some), [2])
  assert.deepEqual(ids(all(), some), [2, 3, 4])
})

test('a random choice has its size, is the same for the same seed, and another one in each round', () => {
  const select = random({ fraction: 0.25, seed: 7 })
  const rounds = [1, 2, 3, 4].map((round) => ids(select, nodes(20), round))
  assert.ok(rounds.every((chosen) => chosen.length === 5))
  assert.equal(new Set(rounds.map(String)).size, 4)
  assert.deepEqual(ids(select, nodes(20).reverse(), 3), rounds[2])
  assert.equal(ids(random({ fraction: 0.01 }), nodes(20)).length, 1)
  assert.equal(ids(random({ count: 30n }), nodes(20)).length, 20)
})

test('over-selection asks more nodes than are enough, also behind another policy', () => {
  const chosen = byTag('region', 'eu').and(random({ count: 10, overSelect: 1.3, seed: 1 }))
  const some = nodes(40).map((node, index) => ({ ...node, tags: { region: index % 2 ? 'eu' : 'us' } }))
  const selected = chosen(some, 1, new NodeHistory())
  assert.deepEqual([selected.length, selected.enough], [13, 10])
  const few = chosen(some.slice(0, 12), 1, new NodeHistory())
  assert.deepEqual([few.length, few.enough], [6, undefined])
})

test('nodes take turns, new ones first', () => {
  const history = new NodeHistory()
  const select = roundRobin({ count: 2 })
  const turns: number[][] = []
  for (let round = 1; round <= 4; round++) {
    const chosen = ids(select, nodes(round === 4 ? 6 : 5), round, history)
    for (const id of chosen) replied(history, id, round, {})
    turns.push(chosen)
  }
  assert.deepEqual(turns, [
    [2, 3],
    [4, 5],
    [2, 6],
    [3, 7],
  ])
})

test('nodes with a higher loss, and faster nodes, are chosen more often; unknown ones as often as the first', () => {
  const history = new NodeHistory()
  for (const id of [2, 3, 4, 5]) replied(history, id, 1, { loss: id === 2 ? 9 : 1, seconds: id === 3 ? 1 : 10 })
  const share = (select: (seed: number) => SelectNodes, id: number): number => {
    const draws = Array.from({ length: 400 }, (_, seed) => ids(select(seed), nodes(5), 1, history))
    return draws.filter((chosen) => chosen.includes(id)).length / draws.length
  }
  const byLoss = (seed: number) => weightedBy('loss', { count: 1, seed })
  // Weights 9, 1, 1, 1 and 9 for the unknown node 6.
  assert.ok(Math.abs(share(byLoss, 2) - 9 / 21) < 0.08)
  assert.ok(Math.abs(share(byLoss, 6) - 9 / 21) < 0.08)
  assert.ok(Math.abs(share((seed) => weightedBy('speed', { count: 1, seed }), 3) - 1 / 2.3) < 0.08)
  const one = weightedBy(({ seconds }) => (seconds === 10 ? 0 : 1), { count: 2, seed: 1 })
  assert.deepEqual(ids(one, nodes(5), 2, history), [3, 6])
})

test('a node that is always late is left out for a while', () => {
  const history = new NodeHistory()
  for (const round of [1, 2, 3]) {
    history.asked(2n, round)
    history.late(2n)
  }
  const chosen = [4, 5, 6, 7].map((round) => ids(notLate(), nodes(2), round, history))
  assert.deepEqual(chosen, [[3], [3], [3], [2, 3]])
})

test('options that make no sense are refused when the policy is made', () => {
  assert.throws(() => random({}), /random: give fraction or count, and not both/)
  assert.throws(() => random({ fraction: 1.5 }), /random: fraction must be a number above 0 and of 1 or less, not 1.5/)
  assert.throws(() => random({ count: 2, overSelect: 0.5 }), /random: overSelect must be a number of 1 or more/)
  assert.throws(() => weightedBy('size' as never, { count: 1 }), /weightedBy: the weight must be 'loss', 'speed'/)
})
