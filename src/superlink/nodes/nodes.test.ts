import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import * as nodeStore from './node-store.ts'
import {
  activateNode,
  cutOffNode,
  deactivateNode,
  expireNodes,
  heartbeat,
  registerKey,
  registerNode,
  unregisterNode,
} from './nodes.ts'

const owner = { id: 'me', name: 'me' }
const beatMs = 30_000

async function setUp() {
  const core = await SuperlinkCore.start()
  const find = async (nodeId: NodeId) => nodeStore.find(core.ctx.db.read, nodeId)
  const statusOf = async (nodeId: NodeId) => (await find(nodeId))?.status
  const reachable = async () => {
    const { runId } = await core.run()
    return (await core.ctx.runNodes.listReachable(runId)).map(({ nodeId }) => nodeId)
  }
  return { core, find, statusOf, reachable, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('a node is online while its heartbeats come, offline when they stop, and online again at the next', async () => {
  await using world = await setUp()
  const { core, statusOf, reachable } = world
  const nodeId = await core.join('node')
  assert.deepEqual([await statusOf(nodeId), await reachable()], ['online', [nodeId]])
  core.clock.advance(2 * beatMs - 1)
  assert.equal(await expireNodes(core.ctx), core.clock.now() + 1, 'that is when it would be silent')
  core.clock.advance(1)
  assert.deepEqual([await statusOf(nodeId), await reachable()], ['online', []], 'its silence counts before it is noted')
  assert.equal(await expireNodes(core.ctx), Number.POSITIVE_INFINITY)
  assert.equal(await statusOf(nodeId), 'offline')
  assert.equal(await heartbeat(core.ctx, nodeId, beatMs), true)
  assert.deepEqual([await statusOf(nodeId), await reachable()], ['online', [nodeId]])
})

test('nodes that go silent together are taken offline some at a time, so that other work goes on in between', async () => {
  await using core = await SuperlinkCore.start()
  const count = limits.silentNodesPerTransactionMax + 1
  for (let index = 0; index < count; index++) await core.join(`node-${index}`)
  core.clock.advance(61_000)
  const transactions = mock.method(core.ctx.db, 'transaction')
  await expireNodes(core.ctx)
  assert.equal(transactions.mock.callCount(), 2)
  assert.deepEqual(await nodeStore.listOnline(core.ctx.db.read), [])
})

test('a node leaves once, and comes back by heartbeat or by joining again', async () => {
  await using world = await setUp()
  const { core, statusOf } = world
  const nodeId = await core.join('node')
  await deactivateNode(core.ctx, nodeId)
  assert.equal(await statusOf(nodeId), 'offline')
  await assert.rejects(deactivateNode(core.ctx, nodeId), { code: 'node-not-deactivated' })
  assert.equal(await core.join('node'), nodeId, 'a key is one node')
  assert.equal(await statusOf(nodeId), 'online')
})

test('a node that was unregistered is gone for good, and its key stays taken', async () => {
  await using world = await setUp()
  const { core, statusOf, reachable } = world
  const nodeId = await core.join('node')
  await unregisterNode(core.ctx, nodeId)
  assert.deepEqual([await statusOf(nodeId), await reachable()], ['unregistered', []])
  assert.equal(await heartbeat(core.ctx, nodeId, beatMs), false)
  await assert.rejects(core.join('node'), { code: 'node-not-registered' })
  await assert.rejects(unregisterNode(core.ctx, nodeId), { code: 'node-not-owned' })
  await assert.rejects(registerKey(core.ctx, 'node', owner), { code: 'public-key-in-use' })
})

test('a key that is online is refused to a second process, until the first is gone', async () => {
  await using world = await setUp()
  const { core } = world
  const first = openConnection(1)
  const second = openConnection(2)
  const nodeId = await core.join('node', { connection: first.connection, process: 'one' })
  await assert.rejects(core.join('node', { connection: second.connection, process: 'two' }), {
    code: 'node-not-activated',
  })
  assert.equal(await core.join('node', { connection: second.connection, process: 'one' }), nodeId, 'the same process')
  for (const { close } of [first, second]) close()
  assert.equal(await core.join('node', { process: 'two' }), nodeId)
})

test('of two processes that join at the same moment with one key, one is let in', async () => {
  await using world = await setUp()
  const { core } = world
  const credential = { kind: 'key', publicKey: 'node' } as const
  await registerNode(core.ctx, credential, 'node')
  const joins = [openConnection(1), openConnection(2)].map(({ connection }) => {
    const speaker = { connection, process: undefined }
    return activateNode(core.ctx, credential, { publicKey: 'node', heartbeatIntervalMs: beatMs, speaker })
  })
  const outcomes = await Promise.allSettled(joins)
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
})

test('nothing is kept of a connection that closes before the join over it is stored', async () => {
  await using world = await setUp()
  const { core } = world
  const { liveNodes } = core.ctx
  const { connection, close } = openConnection()
  const speaker = { connection, process: 'one', release: 'Trellis 0.1.0' }
  const credential = { kind: 'key', publicKey: 'node' } as const
  await registerNode(core.ctx, credential, 'node')
  const joining = activateNode(core.ctx, credential, { publicKey: 'node', heartbeatIntervalMs: beatMs, speaker })
  close()
  const nodeId = await joining
  assert.deepEqual([liveNodes.countOf(connection), liveNodes.releaseOf(nodeId)], [0, undefined])
  assert.equal(await core.join('node', { process: 'two' }), nodeId)
})

test('a node whose certificate is refused from now on is offline at once', async () => {
  await using world = await setUp()
  const { core, statusOf } = world
  const nodeId = await core.join('node')
  await cutOffNode(core.ctx, nodeId)
  assert.equal(await statusOf(nodeId), 'offline')
  assert.match(core.lines.join('\n'), /was cut off/)
})

test('heartbeats of less than 10 s or more than half an hour are refused, and change nothing', async () => {
  await using world = await setUp()
  const { core, find } = world
  const nodeId = await core.join('node')
  const before = await find(nodeId)
  core.clock.advance(1000)
  for (const ms of [0, 9999, 1_800_001, Number.NaN])
    await assert.rejects(heartbeat(core.ctx, nodeId, ms), { code: 'heartbeat-interval-invalid' })
  assert.deepEqual(await find(nodeId), before)
})

test('an operator registers a key with a place and a name, which are checked', async () => {
  await using world = await setUp()
  const { core, find } = world
  const nodeId = await registerKey(core.ctx, 'k', owner, { location: '52.5, 13.4', name: 'Berlin' })
  const { status, location, name, ownerName } = (await find(nodeId)) ?? {}
  assert.deepEqual([status, location, name, ownerName], ['registered', '52.5, 13.4', 'Berlin', 'me'])
  for (const location of ['', '91,0', '0,181', 'north,east', '1', '1,2,3', '1,', `${' '.repeat(70)}1,2`])
    await assert.rejects(registerKey(core.ctx, 'other', owner, { location }), { code: 'node-label-invalid' }, location)
  await assert.rejects(registerKey(core.ctx, 'other', owner, { name: 'x'.repeat(257) }), { code: 'node-label-invalid' })
})
