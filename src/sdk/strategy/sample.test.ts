import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { randomFrom } from '../../../test/harness/random.ts'
import { sampleNodes } from './sample.ts'

const ids = (count: number): bigint[] => Array.from({ length: count }, (_, index) => BigInt(index))
const online = (count: number) => ({ getNodeIds: async () => ids(count) })

test('a sample has the size that was asked for, and no node twice', async () => {
  for (const size of [0, 1, 5, 10]) {
    const { sampled } = await sampleNodes(online(10), 0, () => size)
    assert.equal(sampled.length, size)
    assert.equal(new Set(sampled).size, size)
    assert.ok(sampled.every((id) => ids(10).includes(id)))
  }
})

test('every set of nodes is as likely as any other', async () => {
  const below = randomFrom(1)
  const random = (): number => below(2 ** 32) / 2 ** 32
  const counts = new Map<string, number>()
  const draws = 12_000
  for (let draw = 0; draw < draws; draw++) {
    const { sampled } = await sampleNodes(online(4), 0, () => 2, { random })
    const key = sampled.toSorted().join()
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  assert.equal(counts.size, 6)
  // Six standard deviations.
  for (const count of counts.values()) assert.ok(Math.abs(count - draws / 6) < 6 * Math.sqrt((draws * 5) / 36))
})

test('it waits for nodes, and says what for when that changes, and now and then since when', async (t) => {
  const lines: string[] = []
  t.mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
  const clock = new FakeClock()
  const counts = [...Array(150).fill(0), 1, 1, 3]
  const grid = {
    async getNodeIds() {
      setImmediate(() => clock.advance(500))
      return ids(counts.shift() ?? 3)
    },
  }
  const sizeOf = (count: number): number => Math.floor(count * 0.7)
  const { sampled, online: connected } = await sampleNodes(grid, 3, sizeOf, { clock })
  assert.equal(counts.length, 0)
  assert.equal(connected.length, 3)
  assert.equal(sampled.length, 2)
  assert.deepEqual(lines, [
    'INFO :      Waiting for nodes to connect: 0 connected (minimum required: 3).\n',
    'INFO :      Waiting for nodes to connect: 0 connected (minimum required: 3). Waiting since 2026-11-24T12:00:00.000Z.\n',
    'INFO :      Waiting for nodes to connect: 1 connected (minimum required: 3).\n',
  ])
})

test('it waits for as many nodes as are to be sampled', async (t) => {
  t.mock.method(process.stderr, 'write', () => true)
  const clock = new FakeClock()
  let count = 1
  const grid = {
    async getNodeIds() {
      setImmediate(() => clock.advance(500))
      return ids(count++)
    },
  }
  const { online: connected } = await sampleNodes(grid, 0, () => 3, { clock })
  assert.equal(connected.length, 3)
})

test('a grid that holds the question until something changes is asked once a change', async (t) => {
  t.mock.method(process.stderr, 'write', () => true)
  const asked: (number | undefined)[] = []
  const counts = [0, 1, 3]
  const grid = {
    async getNodeIds(options?: { knownNodes?: number }) {
      asked.push(options?.knownNodes)
      return ids(counts.shift() ?? 3)
    },
  }
  // A clock that stands still: no time is slept away.
  await sampleNodes(grid, 3, () => 3, { clock: new FakeClock() })
  assert.deepEqual(asked, [undefined, 0, 1])
})
