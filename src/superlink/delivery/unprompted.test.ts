import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nothing, type OwnMessage, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { Db } from '../../db/database.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, RecordDict } from '../../message/records.ts'
import { expireNodes, heartbeat } from '../nodes/nodes.ts'
import { find } from './message-store.ts'
import { findUnpromptedBytes, isParticipant } from './participant-store.ts'
import { takeRoomForObject } from './unprompted.ts'

/** A node that a run has asked for something. */
async function setUp() {
  const core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  await core.claim(nodeId)
  const received = async () => (await core.collectAll(runId)).map(({ metadata }) => metadata.messageId)
  return { core, nodeId, runId, asked, received, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('a ServerApp that asks for everything receives what a SuperNode sends unasked, until it confirms it', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked, received } = world
  const held = core.collectAll(runId, { waitMs: 60_000 })
  const note = core.unprompted(runId, nodeId, { bytes: 100_000 })
  const { objectsToPush } = await core.sendUnprompted(note, { upload: false })
  assert.deepEqual(objectsToPush.toSorted(), [...note.deflated.objects.keys()].toSorted())
  await settled()
  assert.deepEqual(await received(), [], 'its objects are not here')
  await core.upload(note)
  const [message] = await held
  assert.deepEqual([message?.metadata.messageId, message?.metadata.srcNodeId], [note.messageId, nodeId])
  assert.deepEqual(await core.collect(runId, [asked.messageId]), [], 'it is no reply')
  assert.deepEqual(core.ctx.progress.of(runId), { asked: 1, replied: 0, failed: 0 })
  core.clock.advance(1000)
  const reply = core.replyTo(asked)
  await core.reply(reply)
  assert.deepEqual(await received(), [note.messageId, reply.messageId])
  await core.confirm(note)
  assert.deepEqual(await received(), [reply.messageId])
})

test('a message whose acknowledgement was lost is taken again, and not delivered again', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, received } = world
  const note = core.unprompted(runId, nodeId)
  const first = await core.sendUnprompted(note, { upload: false })
  assert.deepEqual(await core.sendUnprompted(note, { upload: false }), first)
  await core.upload(note)
  assert.deepEqual(await core.sendUnprompted(note, { upload: false }), { accepted: true, objectsToPush: [] })
  assert.deepEqual(await received(), [note.messageId])
  await core.confirm(note)
  assert.deepEqual(await core.sendUnprompted(note, { upload: false }), { accepted: true, objectsToPush: [] })
  assert.deepEqual(await received(), [])
})

test('messages to another receiver, of an ended run or out of time are refused', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const other = await core.join('other')
  const note = core.unprompted(runId, nodeId)
  const to = { ...note, metadata: { ...note.metadata, dstNodeId: other } }
  await assert.rejects(core.sendUnprompted(to), /Invalid message: the SuperLink is not at one end/)
  const late = core.unprompted(runId, nodeId, { ttl: 10 })
  core.clock.advance(11_000)
  await assert.rejects(core.sendUnprompted(late), /the message has expired/)
  await core.stop(runId)
  await assert.rejects(core.sendUnprompted(note), { code: 'run-not-running' })
  assert.deepEqual(await core.leftovers(), nothing)
})

test('a run knows the nodes that it has asked for something, until it ends', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked } = world
  const other = await core.join('other')
  const { read } = core.ctx.db
  const reply = core.replyTo(asked)
  await core.reply(reply)
  await core.confirm(reply)
  assert.equal(await isParticipant(read, nodeId, runId), true, 'although nothing of it is left')
  assert.equal(await isParticipant(read, other, runId), false)
  assert.equal(await isParticipant(read, nodeId, (await core.run()).runId), false)
  await core.stop(runId)
  assert.equal(await isParticipant(read, nodeId, runId), false)
})

test('a SuperNode that is restarted or goes silent does not leave half a message', async () => {
  const ways = {
    restarted: (core: SuperlinkCore) => core.join('node'),
    silent: async (core: SuperlinkCore) => {
      core.clock.advance(61_000)
      await expireNodes(core.ctx)
    },
  }
  for (const [way, leave] of Object.entries(ways)) {
    await using world = await setUp()
    const { core, nodeId, runId } = world
    const half = core.unprompted(runId, nodeId)
    const whole = core.unprompted(runId, nodeId)
    await core.sendUnprompted(half, { upload: false })
    await core.sendUnprompted(whole)
    await leave(core)
    await heartbeat(core.ctx, nodeId, 30_000)
    assert.equal(await find(core.ctx.db.read, half.messageId), undefined, way)
    const received = (await core.collectAll(runId)).map(({ metadata }) => metadata.messageId)
    assert.ok(received.includes(whole.messageId), way)
    assert.equal(core.ctx.progress.of(runId).asked, 1)
  }
})

test('a message that no app could read, or that has expired, is forgotten without harm to the others', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, received } = world
  const good = core.unprompted(runId, nodeId)
  const other = core.unprompted(runId, nodeId)
  // The message says otherwise than its announcement.
  const forged = { ...other, metadata: { ...other.metadata, runId: (await core.run()).runId } }
  const short = core.unprompted(runId, nodeId, { ttl: 10 })
  for (const note of [good, forged, short]) {
    const { objects } = core.ctx
    if (note !== forged) await core.sendUnprompted(note)
    else {
      await core.push(forged.metadata.runId as RunId, [core.instruction(forged.metadata.runId as RunId, nodeId)])
      await core.sendUnprompted(forged)
      assert.equal(await objects.has(forged.messageId), true)
    }
  }
  core.clock.advance(11_000)
  assert.deepEqual(await received(), [good.messageId])
  assert.deepEqual(await core.collectAll(forged.metadata.runId as RunId), [])
  for (const { messageId } of [forged, short]) assert.equal(await find(core.ctx.db.read, messageId), undefined)
})

test('as many messages of one SuperNode wait as the limit says, and as many are remembered', async (t) => {
  t.mock.property(limits as { unpromptedWaitingMax: number }, 'unpromptedWaitingMax', 2)
  t.mock.property(limits as { unpromptedTakenMax: number }, 'unpromptedTakenMax', 3)
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const send = async () => {
    const note = core.unprompted(runId, nodeId)
    await core.sendUnprompted(note)
    return note
  }
  const [first, second] = [await send(), await send()]
  await assert.rejects(send(), /2 messages of this SuperNode wait for the ServerApp of run/)
  const other = await core.join('other')
  await core.sendUnprompted(core.unprompted(runId, other))
  await core.sendUnprompted(second, { upload: false })
  const notes = [first, second]
  for (let count = 0; count < 8; count++) {
    const [oldest] = notes.splice(0, 1)
    if (oldest) await core.confirm(oldest)
    notes.push(await send())
  }
  const rows = await core.ctx.db.read.selectFrom('message').selectAll().where('src_node_id', '=', nodeId).execute()
  assert.deepEqual(rows.map(({ state }) => state).toSorted(), ['offered', 'offered', 'taken', 'taken', 'taken'])
})

test('an object that would hold more bytes than the limit is refused, if it is part of such a message', async (t) => {
  t.mock.property(limits as { unpromptedBytesMax: number }, 'unpromptedBytesMax', 50_000)
  await using world = await setUp()
  const { core, nodeId, runId, asked } = world
  const upload = async (note: OwnMessage) => {
    for (const [objectId, bytes] of note.deflated.objects) {
      const isWanted = (tx: Db) => takeRoomForObject(tx, { nodeId, runId, objectId }, bytes().length)
      assert.equal(await core.ctx.objects.put(objectId, bytes(), isWanted), 'stored')
    }
  }
  const send = async () => {
    const note = core.unprompted(runId, nodeId, { bytes: 40_000 })
    await core.sendUnprompted(note, { upload: false })
    return note
  }
  const [first, second] = [await send(), await send()]
  await upload(first)
  await assert.rejects(upload(second), { code: 'too-many-messages' })
  const reply = core.replyTo(asked, { bytes: 100_000 })
  await core.reply(reply, { upload: false })
  await upload(reply)
  // What the ServerApp has taken makes room, and so does what is given up.
  await core.confirm(first)
  await upload(second)
  const third = await send()
  await assert.rejects(upload(third), { code: 'too-many-messages' })
  await core.join('node')
  await core.confirm(second)
  const bytes = () => findUnpromptedBytes(core.ctx.db.read, nodeId, runId)
  assert.equal(await bytes(), 0)
})

test('an object that messages of a SuperNode share counts once', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const content = new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(new Float32Array(10_000)) }) })
  const first = core.unprompted(runId, nodeId, { content })
  const second = core.unprompted(runId, nodeId, { content, ttl: 1800 })
  const third = core.unprompted(runId, nodeId)
  for (const note of [first, second, third]) await core.sendUnprompted(note)
  await core.confirm(third)
  const objects = new Map([...first.deflated.objects, ...second.deflated.objects])
  const bytes = objects.values().reduce((sum, read) => sum + read().length, 0)
  assert.ok(bytes < 80_000, 'they share their content')
  assert.equal(await findUnpromptedBytes(core.ctx.db.read, nodeId, runId), bytes)
})

test('messages whose object trees are large are refused before there are many', async (t) => {
  t.mock.property(limits as { objectTreeBytesMax: number }, 'objectTreeBytesMax', 500)
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const notes = Array.from({ length: 3 }, () => core.unprompted(runId, nodeId))
  const sent = await Promise.allSettled(notes.map((note) => core.sendUnprompted(note)))
  assert.deepEqual(
    sent.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  )
  const [first] = notes
  assert.ok(first)
  await core.confirm(first)
  const [row] = await core.ctx.db.read.selectFrom('message').selectAll().where('state', '=', 'taken').execute()
  assert.equal(row?.object_tree.length, 0)
})
