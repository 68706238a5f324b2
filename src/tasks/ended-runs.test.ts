import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId, RunId } from '../base/ids.ts'
import { EndedRuns, mayMissEnds } from './ended-runs.ts'

test('a SuperNode learns the end of runs that it had messages of, and a SuperExec that of all runs', () => {
  const ended = new EndedRuns()
  const position = ended.position(0n)
  ended.add(1n as RunId, [7n as NodeId, (2n ** 64n - 1n) as NodeId])
  ended.add(2n as RunId, [8n as NodeId])
  assert.deepEqual(ended.since(position), [1n, 2n])
  assert.deepEqual(ended.since(position, 7n as NodeId), [1n])
  assert.deepEqual(ended.since(position, (2n ** 64n - 1n) as NodeId), [1n])
  assert.deepEqual(ended.news(position, 9n as NodeId).endedRunIds, [])
})

test('a program may miss ends if the server was restarted, or more runs have ended than it remembers', () => {
  const ended = new EndedRuns()
  const before = ended.position(0n)
  for (let run = 1n; run <= 300n; run++) ended.add(run as RunId, [])
  const now = ended.news(before).endedRunsSeen
  assert.equal(mayMissEnds(before, now), true)
  assert.equal(mayMissEnds(before + 100n, now), false)
  assert.equal(mayMissEnds(now + 1_000_000n, now), true, 'the clock was set back before a restart')
  assert.equal(mayMissEnds(0n, now), false, 'a program that has just started')
  assert.equal(mayMissEnds(now, 0n), false, "a server of Flower's")
})
