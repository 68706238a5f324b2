import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { certificatePeer, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { NodeId } from '../../base/ids.ts'
import { ensureMayJoin, setAdmission } from './admission.ts'
import type { Admission, NodeCredential } from './node.ts'
import * as nodeStore from './node-store.ts'
import { activateNode, registerNode, unregisterNode } from './nodes.ts'

const find = async ({ ctx }: SuperlinkCore, nodeId: NodeId) =>
  (await nodeStore.find(ctx.db.read, nodeId)) ?? assert.fail('no such node')
const set = async (core: SuperlinkCore, nodeId: NodeId, admission: Admission) =>
  setAdmission(core.ctx, await find(core, nodeId), admission)
const mayJoin = ({ ctx }: SuperlinkCore, credential: NodeCredential, claimedKey = '') =>
  ensureMayJoin(ctx.db.read, credential, claimedKey)
const blocked = { code: 'node-blocked' }

test('a block survives a restart, and ends the connections of the node', async () => {
  using home = temporaryDirectory()
  const credential = { kind: 'key', publicKey: 'node' } as const
  const { connection } = openConnection(7)
  let nodeId: NodeId
  {
    await using core = await SuperlinkCore.start({ folder: home.path })
    nodeId = await core.join('node', { connection })
    await mayJoin(core, credential)
    await set(core, nodeId, 'blocked')
    assert.equal(connection.closed.aborted, true)
    assert.equal((await find(core, nodeId)).status, 'offline')
  }
  await using core = await SuperlinkCore.start({ folder: home.path })
  await assert.rejects(mayJoin(core, credential), blocked)
  await assert.rejects(mayJoin(core, { kind: 'none' }, 'node'), blocked)
  await mayJoin(core, { kind: 'key', publicKey: 'another' })
  await set(core, nodeId, 'open')
  await mayJoin(core, credential)
})

test('an identity stays blocked whichever certificate, key or node id it comes with', async () => {
  await using core = await SuperlinkCore.start()
  const join = async (name: string, serial = '01'): Promise<NodeId> => {
    const credential = { kind: 'certificate', peer: certificatePeer(name, { serial }) } as const
    await registerNode(core.ctx, credential, `key of ${name}`)
    const fields = { publicKey: `key of ${name}`, heartbeatIntervalMs: 30_000 }
    return activateNode(core.ctx, credential, {
      ...fields,
      speaker: { connection: openConnection().connection, process: name },
    })
  }
  const [nodeId, other] = [await join('node-1'), await join('node-2')]
  await unregisterNode(core.ctx, nodeId)
  const second = await join('node-1')
  assert.notEqual(second, nodeId, 'it came back by itself')
  await set(core, second, 'blocked')
  const ofName = (name: string): NodeCredential => ({
    kind: 'certificate',
    peer: certificatePeer(name, { serial: '99' }),
  })
  await assert.rejects(mayJoin(core, ofName('node-1')), /has blocked the SuperNode \(node-1\): flwr supernode unblock/)
  await unregisterNode(core.ctx, second)
  await assert.rejects(mayJoin(core, ofName('node-1')), blocked)
  await mayJoin(core, ofName('node-2'))
  assert.equal((await find(core, other)).admission, 'open')
  const keyNode = await core.join('moving')
  await set(core, keyNode, 'blocked')
  await assert.rejects(mayJoin(core, { ...ofName('moved'), provenKey: 'moving' } as NodeCredential), blocked)
})

test('a drained node keeps its work and gets nothing new, until it is let in again', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const usable = async () => (await core.ctx.runNodes.listReachable(runId)).map((node) => node.nodeId)
  const [first, second] = [core.instruction(runId, nodeId), core.instruction(runId, nodeId)]
  await core.push(runId, [first])
  await set(core, nodeId, 'draining')
  assert.deepEqual(await usable(), [])
  assert.deepEqual((await core.push(runId, [second], { upload: false })).messageIds, [''])
  assert.equal((await core.claim(nodeId))?.metadata.messageId, first.messageId, 'what was given to it before')
  assert.deepEqual(await core.collect(runId, [first.messageId]), [], 'no error: it is at work')
  assert.equal((await core.reply(core.replyTo(first))).accepted, true)
  assert.equal((await core.collect(runId, [first.messageId])).length, 1)
  await core.join('node')
  assert.deepEqual(await usable(), [], 'a restart of the node changes nothing')
  await set(core, nodeId, 'open')
  assert.deepEqual(await usable(), [nodeId])
})
