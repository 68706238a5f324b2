import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pageText } from '../bench/page/page-text.ts'
import { repeat, spreadText } from '../bench/spread.ts'

test('a figure of three measurements is their median, between the smallest and the largest', async () => {
  const measured = [
    { seconds: 3, of: [1] },
    { seconds: 1, of: [Number.NaN] },
    { seconds: 2, of: [5] },
  ]
  const figures = await repeat(3, (index) => measured[index] as (typeof measured)[0])
  assert.deepEqual(figures.seconds, { median: 2, min: 1, max: 3 })
  // What one measurement did not reach is taken from the others.
  assert.deepEqual(figures.of, [{ median: 3, min: 1, max: 5 }])
  assert.equal(spreadText(figures.seconds, 1), '2.0 (1.0 to 3.0)')
  assert.equal(spreadText(await repeat(2, () => 4), 0), '4')
  assert.equal(spreadText(await repeat(2, () => Number.NaN), 0), '–')
  // Once, if another measurement would end too late.
  assert.equal(spreadText(await repeat(3, (index) => index, 0), 0), '0')
})

test('the page of benchmarks has a bad day with its targets, and leaves out what was not measured', () => {
  const machine = { date: '2026-11-29', processor: 'a processor', cores: 2, memoryGigabytes: 25, node: 'v26.10.0' }
  const figures = {
    ...{ calmMsPerReply: [2, 2], stormyMsPerReply: [2.1, 2.1], restartMs: 1500, repliesMissing: 0, rejoined: 900 },
    ...{ steady: 900, refusals: ['status 3'], slowBodiesEnded: 1, status: 0 },
    lastCounts: {
      joined: 900,
      joinsRepeated: 0,
      replied: 0,
      waitingCalls: 0,
      calls: {},
      lostCalls: {},
      latenciesMs: [],
    },
  }
  const page = pageText({
    ...{ scale: undefined, waterfall: undefined, engines: undefined, tables: undefined },
    'bad-days': { machine, nodes: 1000, figures },
  })
  assert.match(page, /^\| slower by \| 5 % \| 10 % \|$/m)
  assert.match(page, /a processor, 2 cores/)
  assert.doesNotMatch(page, /^## (Fleets|Where|Beside)/m)
})

test('the table of engines has a column for each, and a dash for what was not measured', () => {
  const fleet = { nodes: 100, secondsPerRound: 0.5, latencyMs: 12, callsPerSecond: 400, cpuMsPerNodeAndRound: 1.5 }
  const machine = { date: '2026-11-29', processor: 'a processor', cores: 2, memoryGigabytes: 25, node: 'v26.10.0' }
  const figures = [
    { title: 'SQLite', fleets: [fleet], secondsPerLargeRound: 1 },
    { title: 'PostgreSQL', fleets: [{ ...fleet, secondsPerRound: Number.NaN }], secondsPerLargeRound: undefined },
  ]
  const page = pageText({
    ...{ scale: undefined, waterfall: undefined, tables: undefined, 'bad-days': undefined },
    engines: { machine, figures },
  })
  assert.match(page, /^\| {2}\| SQLite \| PostgreSQL \|$/m)
  assert.match(page, /^\| s a round of small messages, 100 SuperNodes \| 0\.500 \| – \|$/m)
  assert.match(page, /^\| s a round, 2 SuperNodes, 20 MB model \| 1\.00 \| – \|$/m)
})
