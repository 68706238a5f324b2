import assert from 'node:assert/strict'
import { test } from 'node:test'
import { observeQueries } from '../../../test/harness/query-plans.ts'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'

test('the work of a node is looked up once, and never after the end of its run', async () => {
  await using core = await SuperlinkCore.start()
  const { participants } = core.ctx
  const nodeId = await core.join('key')
  const other = await core.join('other')
  const { runId } = await core.run()
  assert.equal(await participants.ensureRunning(nodeId, runId), false)
  await core.push(runId, [core.instruction(runId, nodeId)])
  assert.equal(await participants.ensureRunning(nodeId, runId), true)
  const { start, counts } = observeQueries(core.ctx.db)
  start()
  assert.equal(await participants.ensureRunning(nodeId, runId), true)
  assert.equal(counts().size, 0)
  assert.equal(await participants.ensureRunning(other, runId), false)
  await core.stop(runId)
  assert.equal(await participants.ensureRunning(nodeId, runId), false)
})

test('a run that ends while it is looked up is not remembered as running', async () => {
  await using core = await SuperlinkCore.start()
  const { participants } = core.ctx
  const nodeId = await core.join('key')
  const { runId } = await core.run()
  await core.push(runId, [core.instruction(runId, nodeId)])
  const looking = Promise.allSettled(Array.from({ length: 5 }, () => participants.ensureRunning(nodeId, runId)))
  await core.stop(runId)
  await looking
  assert.equal(await participants.ensureRunning(nodeId, runId), false)
})
