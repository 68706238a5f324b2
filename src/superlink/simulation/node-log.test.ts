import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { NodeLog } from './node-log.ts'
import type { VirtualRun } from './virtual-runs.ts'

const run = { partitions: new Map([[7n, 3]]) } as unknown as VirtualRun

test('each line of a ClientApp names the partition of its node, and pieces of lines are joined', () => {
  const lines = new NodeLog().linesOf(run, 7n as NodeId, ['loss ', '0.5\nsecond line\n', 'third'])
  assert.deepEqual(lines, ['[partition 3] loss 0.5\n', '[partition 3] second line\n', '[partition 3] third\n'])
})

test('ClientApps leave room in the log for the ServerApp', () => {
  const log = new NodeLog()
  const long = 'x'.repeat(limits.simulatedNodesLogBytesMax / 2 + 1)
  assert.equal(log.linesOf(run, 7n as NodeId, [long]).length, 1)
  assert.match(log.linesOf(run, 7n as NodeId, [long])[0] ?? '', /ends here: it is longer than 8388608 bytes/)
  assert.deepEqual(log.linesOf(run, 7n as NodeId, ['more']), [])
})
