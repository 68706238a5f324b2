import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import { observeQueries } from '../../../test/harness/query-plans.ts'
import { nothing, type OwnMessage, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import { generateNodeKey } from '../../identity/node-key.ts'
import { encodeObject, objectId } from '../../objects/object-format.ts'
import { flattenTree, objectTree } from '../../objects/object-tree.ts'
import { createFleetService } from './fleet.ts'

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
  const pull = () => client.call(fleet.pullMessages, { node, endedRunsSeen: 0n, objectsBytesMax }, { waitMs: 0 })
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

test('an instruction comes with its objects, and a reply with its objects confirms it', async () => {
  await using world = await setUp({ bytes: 100_000 })
  const { core, asked, pull, push, end } = world
  const pulled = await pull()
  assert.equal(pulled.objectsBytesMax, limits.carriedBytesMax)
  const ids = pulled.objects.map(objectId)
  assert.deepEqual(ids, flattenTree(asked.deflated.tree))
  const reply = core.replyTo(asked, { bytes: 100_000 })
  const { start, counts } = observeQueries(core.ctx.db)
  start()
  assert.deepEqual((await push(reply, contentsOf(reply))).objectsToPush, [])
  const statements = [...counts().values()].reduce((sum, times) => sum + times, 0)
  assert.ok(statements <= 20, `${statements} statements`)
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
