import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import { observeQueries } from '../../../test/harness/query-plans.ts'
import { nothing, type OwnMessage, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../gen/flwr/proto/runtime_pb.ts'
import { generateNodeKey } from '../../identity/node-key.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, RecordDict } from '../../message/records.ts'
import { joinObjects } from '../../objects/joined-objects.ts'
import { checkObjects } from '../../objects/object-check.ts'
import { encodeObject, objectId } from '../../objects/object-format.ts'
import { folderSource } from '../../objects/object-source.ts'
import { flattenTree, objectTree } from '../../objects/object-tree.ts'
import { createRuntimeService } from '../../tasks/runtime-service.ts'
import { isObjectTo } from '../access/ownership.ts'
import { takeInstructionsApart } from '../delivery/joined-messages.ts'
import type { StoredMessage } from '../delivery/message-store.ts'
import { packMessages } from '../delivery/whole-messages.ts'
import { countRunBytes, countRunObjects } from '../quotas/usage-store.ts'
import { createFleetService } from './fleet.ts'
import { createSuperlinkBackend } from './runtime-backend.ts'

const fleet = Fleet.method
const objectsBytesMax = limits.carriedBytesMax

/** A SuperLink with a run and a SuperNode, and an instruction that is pushed to it. */
async function setUp(options: { bytes?: number; upload?: boolean } = {}) {
  const core = await SuperlinkCore.start({ settings: { unprovenNodes: true } })
  const client = new InMemoryClient([createFleetService(core.ctx)], { connection: openConnection(7).connection })
  const { publicKeyPem: publicKey } = generateNodeKey()
  await client.call(fleet.registerNode, { publicKey })
  const { nodeId } = await client.call(fleet.activateNode, { publicKey, heartbeatInterval: 30 })
  const node = { nodeId }
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId, options)
  await core.push(runId, [asked], options)
  const pull = (more = {}) =>
    client.call(fleet.pullMessages, { node, endedRunsSeen: 0n, objectsBytesMax, ...more }, { waitMs: 0 })
  const push = (reply: OwnMessage, objects: Uint8Array[]) => {
    const { wire, tree } = reply.deflated
    return client.call(fleet.pushMessages, { node, messagesList: [wire], messageObjectTrees: [tree], objects })
  }
  const end = async (reply: OwnMessage): Promise<void> => {
    await core.confirm(reply)
    assert.deepEqual(await core.leftovers(), nothing)
  }
  return { core, client, node, runId, asked, pull, push, end, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

const contentsOf = ({ deflated }: OwnMessage): Uint8Array[] => [...deflated.objects.values()].map((read) => read())
const collected = async (core: SuperlinkCore, { metadata, messageId }: OwnMessage) =>
  (await core.collect(metadata.runId as RunId, [messageId]))[0]

test('a pull that says how often it comes is a heartbeat', async () => {
  await using world = await setUp()
  const { core, node, pull } = world
  const isOnline = async () => (await core.ctx.knownNodes.find(node.nodeId as NodeId))?.onlineUntil ?? 0
  const onlineUntil = await isOnline()
  core.clock.advance(20_000)
  assert.equal((await pull()).heartbeatCounted, false)
  assert.equal(await isOnline(), onlineUntil)
  assert.equal((await pull({ heartbeatInterval: 30 })).heartbeatCounted, true)
  assert.equal(await isOnline(), onlineUntil + 20_000)
  assert.equal((await pull({ heartbeatInterval: 1e9 })).heartbeatCounted, false, 'not the interval of this node')
})

test('an instruction whose response was lost comes again, with its objects, until the SuperNode replies', async () => {
  await using world = await setUp()
  const { asked, core, pull, push, end } = world
  const { objects } = await pull()
  assert.deepEqual((await pull()).messagesList, [])
  const again = await pull({ responseLost: true })
  assert.equal(again.messagesList[0]?.metadata?.messageId, asked.messageId)
  assert.deepEqual(again.objects, objects)
  await pull({ responseLost: true })
  const lines = core.lines.filter((line) => line.includes('delivered again'))
  assert.equal(lines.length, 1, 'one line a minute')
  const reply = core.replyTo(asked)
  await push(reply, contentsOf(reply))
  const transactions = mock.method(core.ctx.db, 'transaction')
  assert.deepEqual((await pull({ responseLost: true })).messagesList, [])
  assert.equal(transactions.mock.callCount(), 0, 'there is nothing to be delivered again')
  transactions.mock.restore()
  await core.collect(world.runId, [asked.messageId])
  await end(reply)
})

test('an instruction comes with its objects, and a reply with its objects confirms it', async () => {
  await using world = await setUp({ bytes: 100_000 })
  const { core, asked, pull, push, end } = world
  const pulled = await pull()
  assert.equal(pulled.objectsBytesMax, limits.carriedBytesMax)
  const ids = pulled.objects.map(objectId)
  assert.deepEqual(ids.toSorted(), flattenTree(asked.deflated.tree).toSorted())
  const reply = core.replyTo(asked, { bytes: 100_000 })
  const { start, counts } = observeQueries(core.ctx.db)
  start()
  assert.deepEqual((await push(reply, contentsOf(reply))).objectsToPush, [])
  const statements = [...counts().values()].reduce((sum, times) => sum + times, 0)
  // Three of them count what the run and the SuperNode have stored, at their first push.
  assert.ok(statements <= 21, `${statements} statements`)
  assert.equal(await core.stateOf(asked), 'answered')
  assert.equal(await core.ctx.objects.get(ids[0] as string), undefined, 'the instruction has let go of its objects')
  start()
  assert.equal((await collected(core, asked))?.metadata.messageId, reply.messageId)
  const kinds = [...counts().keys()].filter((sql) => sql.includes('ArrayChunk'))
  assert.deepEqual(kinds, [], 'a reply that was checked when it came is not read again')
  // The response was lost.
  assert.ok(reply.messageId in (await push(reply, contentsOf(reply))).results)
  await end(reply)
})

test('a small reply is one row with its objects, until a ServerApp asks for them one by one', async () => {
  await using world = await setUp()
  const { core, asked, pull, push, end, runId } = world
  await pull()
  const reply = core.replyTo(asked)
  await push(reply, contentsOf(reply))
  const { db, objects } = core.ctx
  const ids = flattenTree(reply.deflated.tree)
  assert.deepEqual(await Promise.all(ids.map((id) => objects.has(id))), [false, false, false, false, false])
  const used = async () => [await countRunObjects(db.read, runId), await countRunBytes(db.read, runId)]
  const bytes = contentsOf(reply).reduce((sum, { length }) => sum + length, 0)
  assert.deepEqual(await used(), [5, bytes])
  assert.deepEqual(await faultsOf(core), [])
  // As after a restart: it is checked again.
  core.ctx.checkedReplies.forget([reply.messageId])
  const found = (await core.collect(runId, [asked.messageId])) as StoredMessage[]
  const whole = await packMessages(core.ctx, found, { bytesMax: limits.carriedBytesMax })
  assert.deepEqual(whole.objects.map(objectId), ids)
  const apart = await packMessages(core.ctx, found, { bytesMax: 0 })
  assert.deepEqual([apart.messages, apart.objects], [found, []])
  for (const [index, id] of ids.entries()) assert.deepEqual((await objects.get(id))?.content, whole.objects[index])
  assert.deepEqual(await used(), [5, bytes])
  assert.deepEqual(await faultsOf(core), [])
  await end(reply)
})

test('what instructions share is stored once, and stays until the last of them is gone, also after a restart', async () => {
  using directory = temporaryDirectory()
  const folder = directory.path
  const content = new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(new Float32Array(100)) }) })
  const pushed = await (async () => {
    await using core = await SuperlinkCore.start({ folder })
    const nodes: NodeId[] = []
    for (const key of ['whole', 'in parts', 'slow']) nodes.push(await core.join(key))
    const { runId } = await core.run()
    const instructions = nodes.map((nodeId) => core.instruction(runId, nodeId, { content }))
    await core.push(runId, instructions, { carries: true, upload: false })
    assert.deepEqual(await core.leftovers(), { ...nothing, message: 3, message_object: 4, object: 4 })
    assert.equal(await countRunObjects(core.ctx.db.read, runId), 15)
    const shared = instructions[0]?.deflated.tree.children[0]
    const sharedBytes = (instructions[0] as OwnMessage).deflated.objects
      .entries()
      .reduce((sum, [id, read]) => (shared && flattenTree(shared).includes(id) ? sum + read().length : sum), 0)
    const roots = instructions.reduce(
      (sum, { deflated, messageId }) => sum + (deflated.objects.get(messageId)?.().length ?? 0),
      0,
    )
    assert.equal(await countRunBytes(core.ctx.db.read, runId), sharedBytes + roots)
    return { runId, nodes, instructions }
  })()
  await using core = await SuperlinkCore.start({ folder })
  const { runId, nodes, instructions } = pushed
  const [whole, inParts, slow] = nodes as [NodeId, NodeId, NodeId]
  const first = (await core.claim(whole, undefined, true)) as StoredMessage
  const { objects } = await packMessages(core.ctx, [first], { bytesMax: limits.carriedBytesMax })
  assert.deepEqual(objects.map(objectId).toSorted(), flattenTree(first.tree).toSorted())
  const second = (await core.claim(inParts)) as StoredMessage
  for (const id of flattenTree(second.tree)) assert.ok(await isObjectTo(core.ctx.db.read, inParts, runId, id), id)
  assert.deepEqual(await faultsOf(core), [])
  const third = (await core.claim(slow, undefined, true)) as StoredMessage
  for (const [index, instruction] of instructions.entries()) {
    if (index === 2) {
      // It received the message with its objects, and asks for one all the same.
      assert.equal(await takeInstructionsApart(core.ctx, runId, slow), true)
      for (const id of flattenTree(third.tree)) assert.ok((await core.ctx.objects.get(id))?.content, id)
    }
    const reply = core.replyTo(instruction)
    await core.reply(reply, { carries: true, upload: false })
    await core.collect(runId, [instruction.messageId])
    await core.confirm(reply)
  }
  assert.deepEqual(await core.leftovers(), nothing)
})

test('flower-superlink check finds a reply whose objects are damaged', async () => {
  await using world = await setUp()
  const { core, asked, pull, push } = world
  await pull()
  const reply = core.replyTo(asked)
  await push(reply, contentsOf(reply))
  const damaged = joinObjects([new Uint8Array(3)])
  await core.ctx.db.transaction((tx) =>
    tx.updateTable('message').set({ objects: damaged }).where('object_count', '>', 0).execute(),
  )
  const [fault] = await faultsOf(core)
  assert.match(
    fault ?? '',
    new RegExp(`^The objects of message ${reply.messageId} are damaged in the database; needed by run`),
  )
  assert.equal((await core.collect(world.runId, [asked.messageId]))[0]?.error, undefined, 'it was checked before')
  core.ctx.checkedReplies.forget([reply.messageId])
  const [replaced] = await core.collect(world.runId, [asked.messageId])
  assert.match(replaced?.error?.reason ?? '', /cannot be read/)
})

async function faultsOf({ ctx }: SuperlinkCore): Promise<string[]> {
  return Array.fromAsync(
    checkObjects(ctx.db.read, folderSource('/no-file-is-stored'), { objects: 0, files: 0, bytes: 0 }),
  )
}

test('an instruction comes without objects if they are too large, not all here, or not wanted', async () => {
  for (const options of [{ bytes: limits.carriedBytesMax }, { bytes: 100, upload: false }]) {
    await using world = await setUp(options)
    const { messagesList, objects } = await world.pull()
    assert.deepEqual([messagesList.length, objects.length], [1, 0])
  }
  await using world = await setUp()
  const { client, node } = world
  const { messagesList, objects, ...rest } = await client.call(fleet.pullMessages, { node }, { waitMs: 0 })
  assert.deepEqual([messagesList.length, objects.length, rest.objectsBytesMax], [1, 0, 0])
})

test('a reply that comes with some of its objects waits for the others, and confirms nothing', async () => {
  await using world = await setUp()
  const { core, asked, pull, push, end } = world
  await pull()
  const reply = core.replyTo(asked)
  const [first, ...others] = contentsOf(reply)
  const { objectsToPush } = await push(reply, [first as Uint8Array])
  assert.deepEqual(objectsToPush.toSorted(), others.map(objectId).toSorted())
  assert.deepEqual((await pull({ responseLost: true })).messagesList, [], 'the node is replying to it')
  assert.equal(await core.stateOf(asked), 'fetched')
  assert.equal(await collected(core, asked), undefined)
  for (const bytes of others) await core.uploadObject(reply, objectId(bytes), bytes)
  assert.equal((await collected(core, asked))?.metadata.messageId, reply.messageId)
  await end(reply)
})

test('objects that are not of the reply, or too many bytes, are refused, and what is no object makes it an error', async () => {
  await using world = await setUp()
  const { core, asked, pull, push } = world
  await pull()
  const reply = core.replyTo(asked)
  const foreign = encodeObject('ArrayChunk', [], new Uint8Array(3))
  await assert.rejects(push(reply, [...contentsOf(reply), foreign]), { code: 'invalid-request' })
  await assert.rejects(push(reply, [new Uint8Array(limits.carriedBytesMax + 1)]), { code: 'invalid-request' })
  assert.equal(await core.stateOf(asked), 'fetched')

  const nonsense = Buffer.from('no object')
  const tree = objectTree(reply.messageId, [objectTree(objectId(nonsense))])
  const broken = { ...reply, deflated: { ...reply.deflated, tree } }
  await assert.rejects(push(broken, [nonsense]), { code: 'object-malformed' })
  assert.match((await collected(core, asked))?.error?.reason ?? '', /cannot be read: Malformed object/)
})

test('a reply whose objects do not fit together becomes an error for the ServerApp', async () => {
  await using world = await setUp()
  const { core, asked, pull, push } = world
  await pull()
  const reply = core.replyTo(asked)
  const [chunk] = contentsOf(reply)
  const tree = objectTree(reply.messageId, [objectTree(objectId(chunk as Uint8Array))])
  const root = reply.deflated.objects.get(reply.messageId)?.() as Uint8Array
  await push({ ...reply, deflated: { ...reply.deflated, tree } }, [chunk as Uint8Array, root])
  assert.match((await collected(core, asked))?.error?.reason ?? '', /are not those of its tree/)
})

test('a node that replies before it can have its instruction takes nothing from the ServerApp that uploads it', async () => {
  await using world = await setUp({ bytes: 100, upload: false })
  const { core, asked, pull, push } = world
  await pull()
  const reply = core.replyTo(asked, { error: { code: 1, reason: 'I do not wait.' } })
  await push(reply, contentsOf(reply))
  assert.deepEqual(new Set(await core.upload(asked)), new Set(['stored']))
})

/** The same between a SuperLink and its ServerApp. */
async function setUpApp() {
  const core = await SuperlinkCore.start()
  const { runId, token } = await core.run({ starts: false })
  const backend = createSuperlinkBackend(core.ctx)
  const api = { tasks: core.ctx.tasks, backend, clock: core.clock, checkSuperexec: async () => {} }
  const client = new InMemoryClient([createRuntimeService(api)], { headers: { 'flwr-task-token': token } })
  const { objectsBytesMax } = await client.call(runtime.pullTaskInput, {})
  const push = (messages: OwnMessage[], objects: Uint8Array[]) => {
    const [messagesList, messageObjectTrees] = [messages.map(({ deflated }) => deflated.wire), messages.map(treeOf)]
    return client.call(runtime.pushMessages, { messagesList, messageObjectTrees, objects })
  }
  const pull = (messages: OwnMessage[], bytesMax = objectsBytesMax) => {
    const messageIds = messages.map(({ messageId }) => messageId)
    return client.call(runtime.pullMessages, { messageIds, objectsBytesMax: bytesMax }, { waitMs: 0 })
  }
  const confirm = ([messageObjectId = '', ...moreMessageObjectIds]: string[]) =>
    client.call(runtime.confirmMessageReceived, { runId, messageObjectId, moreMessageObjectIds })
  const close = () => core[Symbol.asyncDispose]()
  return { core, client, runId, objectsBytesMax, push, pull, confirm, [Symbol.asyncDispose]: close }
}

const runtime = Runtime.method
const treeOf = ({ deflated }: OwnMessage) => deflated.tree
const idsOf = (messages: readonly { metadata?: { messageId: string } | undefined }[]) =>
  messages.map(({ metadata }) => metadata?.messageId)

test('a ServerApp pushes instructions, pulls replies and confirms them, each in one call', async () => {
  await using world = await setUpApp()
  const { core, runId, objectsBytesMax, push, pull, confirm } = world
  assert.equal(objectsBytesMax, limits.carriedPerCallBytesMax)
  const nodes = [await core.join('one'), await core.join('two')]
  const asked = nodes.map((nodeId) => core.instruction(runId, nodeId, { bytes: 20_000 }))
  assert.deepEqual((await push(asked, asked.flatMap(contentsOf))).objectsToPush, [])
  assert.deepEqual(await Promise.all(asked.map((one) => core.stateOf(one))), ['offered', 'offered'])
  const replies = asked.map((one) => core.replyTo(one))
  for (const [index, reply] of replies.entries()) {
    await core.claim(nodes[index] as NodeId)
    await core.reply(reply)
  }
  const pulled = await pull(asked)
  assert.deepEqual(idsOf(pulled.messagesList), idsOf(replies))
  assert.deepEqual(pulled.objects.map(objectId).toSorted(), replies.flatMap(idsIn).toSorted())
  assert.equal((await pull(asked, 0)).objects.length, 0)
  await confirm(replies.map(({ messageId }) => messageId))
  assert.deepEqual(await core.leftovers(), nothing)
})

const idsIn = ({ deflated }: OwnMessage): string[] => flattenTree(deflated.tree)

test('replies that have no room in a response come with the next one, and a reply to no message comes whole', async () => {
  await using world = await setUpApp()
  const { core, runId, push, pull, confirm } = world
  const nodeId = await core.join('one')
  const asked = [1, 2].map(() => core.instruction(runId, nodeId))
  await push(asked, asked.flatMap(contentsOf))
  const replies = asked.map((one) => core.replyTo(one, { bytes: 20_000 }))
  for (const reply of replies) {
    await core.claim(nodeId)
    await core.reply(reply)
  }
  for (const reply of replies) {
    const { messagesList, objects } = await pull(asked, 30_000)
    assert.deepEqual(idsOf(messagesList), [reply.messageId])
    assert.deepEqual(objects.map(objectId).toSorted(), idsIn(reply).toSorted())
    await confirm([reply.messageId])
    asked.shift()
  }
  const unknown = core.instruction(runId, nodeId)
  const { messagesList, objects } = await pull([unknown])
  assert.deepEqual(objects.map(objectId), idsOf(messagesList))
})

test('objects of other messages, and confirmations of other runs, are refused', async () => {
  await using world = await setUpApp()
  const { core, runId, push, confirm } = world
  const nodeId = await core.join('one')
  const [asked, other] = [core.instruction(runId, nodeId), core.instruction(runId, nodeId)]
  await assert.rejects(push([asked], [...contentsOf(asked), ...contentsOf(other)]), { code: 'invalid-request' })
  assert.deepEqual(await core.leftovers(), nothing)
  const foreign = await core.run()
  const theirs = core.instruction(foreign.runId, nodeId)
  await core.push(foreign.runId, [theirs])
  const reply = core.replyTo(theirs)
  await core.reply(reply)
  await assert.rejects(confirm(['unknown', reply.messageId]), { code: 'message-of-another' })
})

test('instructions to a node that is unknown leave nothing of what came with them', async () => {
  await using world = await setUpApp()
  const { core, runId, push } = world
  const asked = core.instruction(runId, 99n)
  assert.deepEqual((await push([asked], contentsOf(asked))).messageIds, [''])
  assert.deepEqual(await core.leftovers(), nothing)
})
