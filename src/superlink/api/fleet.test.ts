import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { type InMemoryCall, InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import {
  type CoreOptions,
  certificatePeer,
  nothing,
  openConnection,
  SuperlinkCore,
  settled,
} from '../../../test/harness/superlink-core.ts'
import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import type { CertificatePeer } from '../../identity/caller.ts'
import { generateNodeKey, type NodeKey, signNodeCall } from '../../identity/node-key.ts'
import type { Connection } from '../../rpc/call.ts'
import { registerKey } from '../nodes/nodes.ts'
import { createFleetService, createNoFleetService } from './fleet.ts'
import { countFleetTraffic } from './fleet-traffic.ts'

const fleet = Fleet.method

/** A SuperLink, whose Fleet API is called as the door does it. */
async function setUp(options: CoreOptions = {}) {
  const core = await SuperlinkCore.start(options)
  const service = createFleetService(core.ctx)
  const connect = (connection: Connection, key?: NodeKey, headers: Record<string, string> = {}) => {
    const client = new InMemoryClient([service], {
      connection,
      headers,
      interceptors: [countFleetTraffic(core.ctx.traffic), core.ctx.uploads.interceptor],
    })
    return async <I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
      method: DescMethodUnary<I, O>,
      request: MessageInitShape<I>,
      call: InMemoryCall = {},
    ): Promise<MessageShape<O>> => {
      const signed = key ? await signNodeCall(key, core.clock.now()) : {}
      return client.call(method, request, { waitMs: 0, ...signed, ...call })
    }
  }
  /** A SuperNode with a key of its own that has joined. */
  const keyNode = async (id = 1) => {
    const key = generateNodeKey()
    const call = connect(openConnection(id).connection, key)
    await call(fleet.registerNode, { publicKey: key.publicKeyPem })
    const { nodeId } = await call(fleet.activateNode, { publicKey: key.publicKeyPem, heartbeatInterval: 30 })
    return { key, call, nodeId: nodeId as NodeId, node: { nodeId } }
  }
  const world = { core, connect, keyNode, certified: (peer: CertificatePeer, id = 1) => openConnection(id, peer) }
  return { ...world, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('a SuperNode joins with its key, gets app, instruction and objects, and its reply reaches the ServerApp', async () => {
  await using world = await setUp()
  const { core, keyNode } = world
  const { call, nodeId, node } = await keyNode()
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId, { bytes: 50_000 })
  await core.push(runId, [asked])

  const { messagesList, messageObjectTrees } = await call(fleet.pullMessages, { node })
  assert.deepEqual(
    messagesList.map(({ metadata }) => metadata?.messageId),
    [asked.messageId],
  )
  assert.equal(messageObjectTrees[0]?.objectId, asked.messageId)
  const { run } = await call(fleet.getRun, { node, runId })
  const { fab } = await call(fleet.getFab, { node, runId, hashStr: run?.fabHash ?? '' })
  assert.ok((fab?.content.length ?? 0) > 0)
  for (const [objectId, bytes] of asked.deflated.objects) {
    const object = await call(fleet.pullObject, { node, runId, objectId })
    assert.deepEqual(Buffer.from(object.objectContent), Buffer.from(bytes()))
  }
  await call(fleet.confirmMessageReceived, { node, runId, messageObjectId: asked.messageId })

  const reply = core.replyTo(asked, { bytes: 50_000 })
  const pushed = await call(fleet.pushMessages, {
    node,
    messagesList: [reply.deflated.wire],
    messageObjectTrees: [reply.deflated.tree],
    clientappRuntimeList: [1.5],
  })
  assert.ok(reply.messageId in pushed.results)
  const [uploader] = await core.ctx.runNodes.listReachable(runId)
  assert.ok(uploader)
  const uploadedAt = () => core.ctx.uploads.lastAt(uploader)
  assert.equal(uploadedAt(), 0)
  for (const objectId of pushed.objectsToPush) {
    const objectContent = (reply.deflated.objects.get(objectId) as () => Uint8Array)()
    assert.equal((await call(fleet.pushObject, { node, runId, objectId, objectContent })).stored, true)
  }
  const endedAt = core.clock.now()
  core.clock.advance(1)
  assert.equal(uploadedAt(), endedAt)
  assert.deepEqual(
    (await core.collect(runId, [asked.messageId])).map(({ metadata }) => metadata.messageId),
    [reply.messageId],
  )
  await core.ctx.traffic.flush()
  const [row] = await core.ctx.db.read.selectFrom('run').selectAll().execute()
  assert.ok(row && row.bytes_sent > 50_000 && row.bytes_recv > 50_000 && row.clientapp_runtime === 1.5)
  await core.confirm(reply)
  assert.deepEqual(await core.leftovers(), nothing)
  // Between two rounds the node has no work of the run, which goes on.
  assert.equal((await call(fleet.getRun, { node, runId })).run?.runId, runId)
  await assert.rejects(call(fleet.getFab, { node, runId, hashStr: run?.fabHash ?? '' }), { code: 'run-not-running' })
})

test('a node that sends NaN as the time of its ClientApp leaves the figures of other runs alone', async () => {
  await using world = await setUp()
  const { core, keyNode } = world
  const { call, nodeId, node } = await keyNode()
  const { runId } = await core.run()
  const { runId: otherId } = await core.run()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  await call(fleet.pullMessages, { node })
  const { wire, tree } = core.replyTo(asked).deflated
  const about = { messagesList: [wire], messageObjectTrees: [tree], clientappRuntimeList: [Number.NaN] }
  await call(fleet.pushMessages, { node, ...about })
  core.ctx.traffic.add(otherId, { sent: 7 })
  await core.ctx.traffic.flush()
  const rows = await core.ctx.db.read.selectFrom('run').selectAll().orderBy('bytes_sent').execute()
  assert.equal(rows[0]?.bytes_sent, 7)
  assert.equal(rows[1]?.clientapp_runtime, 0)
})

test('a large object that is sent from its file counts in the traffic of its run', async () => {
  using folder = temporaryDirectory()
  await using world = await setUp({ folder: folder.path })
  const { core, keyNode } = world
  const { call, nodeId, node } = await keyNode()
  const { runId } = await core.run()
  const bytes = 2 * 1024 * 1024
  const asked = core.instruction(runId, nodeId, { bytes })
  await core.push(runId, [asked])
  for (const objectId of asked.deflated.objects.keys()) await call(fleet.pullObject, { node, runId, objectId })
  await core.ctx.traffic.flush()
  const [row] = await core.ctx.db.read.selectFrom('run').selectAll().execute()
  assert.ok(row && row.bytes_sent >= bytes)
})

test('a SuperNode that the run has asked for something may send a message unasked, and no other one may', async () => {
  await using world = await setUp()
  const { core, keyNode } = world
  const { runId } = await core.run()
  const [own, other] = [await keyNode(), await keyNode(2)]
  const { call, nodeId, node } = own
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  const push = (by: typeof other, note: ReturnType<typeof core.unprompted>) =>
    by.call(fleet.pushMessages, {
      node: by.node,
      messagesList: [note.deflated.wire],
      messageObjectTrees: [note.deflated.tree],
    })
  const note = core.unprompted(runId, nodeId, { bytes: 50_000 })
  const pushed = await push(own, note)
  assert.ok(note.messageId in pushed.results)
  const { sessionId } = pushed
  const upload = (objectId: string) => {
    const objectContent = (note.deflated.objects.get(objectId) as () => Uint8Array)()
    return call(fleet.pushObject, { node, runId, objectId, objectContent, sessionId })
  }
  for (const objectId of pushed.objectsToPush) assert.equal((await upload(objectId)).stored, true)
  const [message] = await core.collectAll(runId)
  assert.equal(message?.metadata.messageId, note.messageId)
  await core.confirm(note)
  // The response to an upload was lost, and the ServerApp has the message.
  assert.equal((await upload(note.messageId)).stored, true)
  assert.deepEqual((await push(own, note)).objectsToPush, [])

  await assert.rejects(push(other, core.unprompted(runId, other.nodeId)), { code: 'run-not-running' })
  await assert.rejects(push(other, core.unprompted(runId, nodeId)), { code: 'message-source-mismatch' })
  await assert.rejects(push(other, core.unprompted(5n as typeof runId, other.nodeId)), /Run ID not found: 5/)
})

test('a call without a signature, or with one that is too old, of another key or of another node, is refused', async () => {
  await using world = await setUp()
  const { core, keyNode, connect } = world
  const { key, call, node } = await keyNode()
  const other = await keyNode(2)
  const { connection } = openConnection(3)
  const pull = { node }
  await assert.rejects(connect(connection)(fleet.pullMessages, pull), { code: 'node-authentication-missing' })
  const old = await signNodeCall(key, core.clock.now() - 400_000)
  await assert.rejects(call(fleet.pullMessages, pull, old), { code: 'node-timestamp-invalid' })
  const { headers, binaryHeaders } = await signNodeCall(key, core.clock.now())
  const forged = { ...binaryHeaders, 'flwr-public-key': other.key.publicKeyPem }
  await assert.rejects(call(fleet.pullMessages, pull, { headers, binaryHeaders: forged }), {
    code: 'node-signature-invalid',
  })
  await assert.rejects(other.call(fleet.pullMessages, pull), { code: 'node-id-invalid' })
  await assert.rejects(call(fleet.registerNode, { publicKey: other.key.publicKeyPem }), { code: 'node-id-invalid' })
})

test('where keys are registered by hand, no other key joins, and none leaves by itself', async () => {
  await using world = await setUp({ settings: { supernodeAuth: true } })
  const { core, connect } = world
  const key = generateNodeKey()
  const call = connect(openConnection().connection, key)
  const joining = { publicKey: key.publicKeyPem, heartbeatInterval: 30 }
  await assert.rejects(call(fleet.registerNode, joining), { code: 'nodes-register-by-cli' })
  await assert.rejects(call(fleet.activateNode, joining), { code: 'node-not-registered' })
  const nodeId = await registerKey(core.ctx, Buffer.from(key.publicKeyPem).toString('latin1'), { id: 'me', name: 'me' })
  assert.equal((await call(fleet.activateNode, joining)).nodeId, nodeId)
  await assert.rejects(call(fleet.unregisterNode, { nodeId }), { code: 'nodes-unregister-by-cli' })
})

test('SuperNodes that prove nothing join only where the operator lets them, and speak for no node that has proved its key', async () => {
  const joining = { publicKey: generateNodeKey().publicKeyPem, heartbeatInterval: 30 }
  {
    await using world = await setUp()
    const call = world.connect(openConnection().connection)
    await assert.rejects(call(fleet.registerNode, joining), { code: 'node-authentication-missing' })
  }
  await using world = await setUp({ settings: { unprovenNodes: true } })
  const { core, connect, keyNode } = world
  const call = connect(openConnection(2).connection)
  await call(fleet.registerNode, joining)
  const { nodeId } = await call(fleet.activateNode, joining)
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  const { messagesList } = await call(fleet.pullMessages, { node: { nodeId } })
  assert.equal(messagesList[0]?.metadata?.messageId, asked.messageId)
  const [shown] = await core.ctx.runNodes.listReachable(runId)
  assert.equal(shown?.authMethod, 'none')

  const proven = await keyNode(3)
  await assert.rejects(call(fleet.pullMessages, { node: proven.node }), { code: 'node-id-invalid' })
  await assert.rejects(call(fleet.unregisterNode, { nodeId: proven.nodeId }), { code: 'node-id-invalid' })
  const itsKey = { publicKey: proven.key.publicKeyPem, heartbeatInterval: 30 }
  await assert.rejects(call(fleet.activateNode, itsKey), { code: 'node-not-registered' })
  await assert.rejects(call(fleet.registerNode, itsKey), { code: 'public-key-in-use' })
  // A signature, once given, must be right.
  const signed = await signNodeCall(generateNodeKey(), core.clock.now() - 3_600_000)
  await assert.rejects(call(fleet.pullMessages, { node: { nodeId } }, signed), { code: 'node-timestamp-invalid' })
})

test('a certificate is its node, whatever key comes with it; it needs the role, and serves one process', async () => {
  await using world = await setUp({ settings: { requireCertificates: true } })
  const { connect, certified } = world
  const joining = { publicKey: generateNodeKey().publicKeyPem, heartbeatInterval: 30 }
  await assert.rejects(connect(openConnection().connection)(fleet.activateNode, joining), { code: 'no-certificate' })
  const person = certified(certificatePeer('person', { roles: new Set(['cli']) }))
  await assert.rejects(connect(person.connection)(fleet.activateNode, joining), { code: 'role-not-granted' })
  const first = certified(certificatePeer('site-1'), 2)
  const call = connect(first.connection, undefined, { 'trellis-process': 'one' })
  const { nodeId } = await call(fleet.activateNode, joining)
  const renewed = certified(certificatePeer('site-1', { serial: '0B' }), 3)
  const again = connect(renewed.connection, undefined, { 'trellis-process': 'one' })
  const otherKey = { ...joining, publicKey: generateNodeKey().publicKeyPem }
  assert.equal((await again(fleet.activateNode, otherKey)).nodeId, nodeId)
  const thief = certified(certificatePeer('site-1'), 4)
  const steal = connect(thief.connection, undefined, { 'trellis-process': 'two' })
  await assert.rejects(steal(fleet.activateNode, joining), { code: 'identity-in-use' })
  await assert.rejects(steal(fleet.pullMessages, { node: { nodeId } }), { code: 'identity-in-use' })
  const other = connect(certified(certificatePeer('site-2'), 5).connection)
  await assert.rejects(other(fleet.pullMessages, { node: { nodeId } }), { code: 'node-of-another-identity' })
})

test('a pull is held until there is an instruction, and a node holds a few calls at most', async () => {
  await using world = await setUp({ settings: { requireCertificates: true } })
  const { core, connect, certified } = world
  const call = connect(certified(certificatePeer('site-1')).connection)
  const { publicKeyPem: publicKey } = generateNodeKey()
  const { nodeId } = await call(fleet.activateNode, { publicKey, heartbeatInterval: 30 })
  const hangUp = new AbortController()
  const pull = () => call(fleet.pullMessages, { node: { nodeId } }, { waitMs: 60_000, signal: hangUp.signal })
  const held = Array.from({ length: limits.heldCallsPerNodeMax }, pull)
  await settled()
  await assert.rejects(pull(), { code: 'too-many-calls' })
  const { runId } = await core.run()
  const instruction = core.instruction(runId, nodeId)
  await core.push(runId, [instruction])
  assert.equal((await Promise.race(held)).messagesList.length, 1)
  await call(fleet.confirmMessageReceived, { node: { nodeId }, runId, messageObjectId: instruction.messageId })
  hangUp.abort()
  const answers = await Promise.all(held)
  assert.equal(answers.flatMap(({ messagesList }) => messagesList).length, 1)
  assert.deepEqual((await call(fleet.pullMessages, { node: { nodeId } })).messagesList, [], 'there is room again')
})

test('a SuperNode hears in its pulls of runs that have ended, and asks for nothing of them', async () => {
  await using world = await setUp()
  const { core, keyNode } = world
  const { call, nodeId, node } = await keyNode()
  const { runId } = await core.run()
  await core.push(runId, [core.instruction(runId, nodeId)])
  await call(fleet.pullMessages, { node })
  const { endedRunsSeen = 0n } = await call(fleet.pullMessages, { node, endedRunsSeen: 0n })
  await core.stop(runId)
  assert.deepEqual((await call(fleet.pullMessages, { node, endedRunsSeen })).endedRunIds, [runId])
  await assert.rejects(call(fleet.getRun, { node, runId }), { code: 'run-not-running' })
})

test('what is no reply is refused without a trace', async () => {
  await using world = await setUp()
  const { core, keyNode } = world
  const { call, nodeId, node } = await keyNode()
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  await assert.rejects(call(fleet.pushMessages, { node }), { code: 'invalid-request' })
  const { deflated } = core.replyTo({ ...asked, messageId: '0'.repeat(64) })
  const stray = { node, messagesList: [deflated.wire], messageObjectTrees: [deflated.tree] }
  assert.deepEqual((await call(fleet.pushMessages, stray)).results, { None: 0 })
  assert.equal((await core.leftovers()).message, 1)
})

test('a SuperLink that simulates its nodes tells every SuperNode so', async () => {
  const client = new InMemoryClient([createNoFleetService()])
  for (const method of [fleet.registerNode, fleet.pullMessages, fleet.pushObject])
    await assert.rejects(client.call(method as typeof fleet.pullMessages, {}), { code: 'unsupported' })
})
