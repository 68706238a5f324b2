import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { observeQueries } from '../../../test/harness/query-plans.ts'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { DomainError } from '../../base/errors.ts'
import * as nodeStore from './node-store.ts'
import { deactivateNode, expireNodes, prolongOnline, unregisterNode } from './nodes.ts'

const intervalMs = 30_000

test('heartbeats of nodes that are online are no statements, and are written together', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const nodeIds = []
  for (let index = 0; index < 20; index++) nodeIds.push(await core.join(`key-${index}`))
  for (const nodeId of nodeIds) await ctx.knownNodes.find(nodeId)
  clock.advance(intervalMs)
  const { start, counts } = observeQueries(ctx.db)
  start()
  for (const nodeId of nodeIds) assert.equal(await core.beat(nodeId), true)
  assert.equal(counts().size, 0)
  await ctx.knownNodes.flush()
  assert.deepEqual([...counts().values()], [1])
  for (const nodeId of nodeIds)
    assert.equal((await nodeStore.find(ctx.db.read, nodeId))?.onlineUntil, clock.now() + 2 * intervalMs)
  start()
  await ctx.knownNodes.flush()
  assert.equal(counts().size, 0)
})

test('heartbeats that could not be written are written later, whatever the failure was', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const nodeId = await core.join('key')
  await ctx.knownNodes.find(nodeId)
  clock.advance(intervalMs)
  await core.beat(nodeId)
  const until = clock.now() + 2 * intervalMs
  const failing = (error: Error) => mock.method(ctx.db, 'transaction', () => Promise.reject(error), { times: 1 })
  failing(new DomainError('unavailable', 'The database cannot be written.'))
  assert.equal(await expireNodes(ctx), until - intervalMs)
  failing(new TypeError('a fault'))
  await assert.rejects(ctx.knownNodes.flush(), /a fault/)
  assert.equal(await expireNodes(ctx), until)
  clock.advance(2 * intervalMs)
  await expireNodes(ctx)
  assert.equal((await nodeStore.find(ctx.db.read, nodeId))?.status, 'offline')
})

test('a node whose heartbeat is not written yet is online', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const nodeId = await core.join('key')
  const { runId } = await core.run()
  await ctx.knownNodes.find(nodeId)
  clock.advance(2 * intervalMs - 1)
  await core.beat(nodeId)
  clock.advance(2)
  assert.equal(await ctx.runNodes.isReachable(runId, nodeId), true)
  assert.equal((await ctx.runNodes.listReachable(runId)).length, 1)
  await expireNodes(ctx)
  assert.equal((await nodeStore.find(ctx.db.read, nodeId))?.status, 'online')
  clock.advance(2 * intervalMs)
  await expireNodes(ctx)
  assert.equal((await nodeStore.find(ctx.db.read, nodeId))?.status, 'offline')
  assert.equal(await ctx.runNodes.isReachable(runId, nodeId), false)
  assert.equal(await core.beat(nodeId), true, 'it is revived')
  assert.equal((await nodeStore.find(ctx.db.read, nodeId))?.status, 'online')
})

test('a change of a node is known at once, and a heartbeat before it does not undo it', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const nodeId = await core.join('key')
  const status = async () => (await ctx.knownNodes.find(nodeId))?.status
  assert.equal(await status(), 'online')
  const left = deactivateNode(ctx, nodeId)
  await core.beat(nodeId)
  await left
  await ctx.knownNodes.flush()
  assert.equal(await status(), 'offline')
  assert.ok(((await nodeStore.find(ctx.db.read, nodeId))?.onlineUntil ?? 0) <= core.clock.now())
  await unregisterNode(ctx, nodeId)
  assert.equal(await status(), 'unregistered')
  assert.equal(await core.beat(nodeId), false)
})

test('a row that was read before a change is not kept after it', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const nodeId = await core.join('key')
  const reading = Promise.all(Array.from({ length: 5 }, () => ctx.knownNodes.find(nodeId)))
  await unregisterNode(ctx, nodeId)
  await reading
  assert.equal((await ctx.knownNodes.find(nodeId))?.status, 'unregistered')
})

test('after a start every node that was online has a whole period to beat', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('key')
  core.clock.advance(2 * intervalMs - 1)
  await prolongOnline(core.ctx)
  assert.equal((await core.ctx.knownNodes.find(nodeId))?.onlineUntil, core.clock.now() + 2 * intervalMs)
})
