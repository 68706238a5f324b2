import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId, RunId } from '../base/ids.ts'
import { EndedRuns } from './ended-runs.ts'

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
