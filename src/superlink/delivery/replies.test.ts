import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { nothing, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { delimited } from '../../../test/harness/worst-bodies.ts'
import { limits } from '../../base/limits.ts'
import { errorCodes } from '../../message/message.ts'
import { cutOffNode, deactivateNode, expireNodes, heartbeat } from '../nodes/nodes.ts'
import { collectReplies } from './collect-replies.ts'
import type { MessageState } from './message-store.ts'

/** A node that has fetched one instruction. */
async function setUp({ ttl = 3600 } = {}) {
  const core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId, { ttl })
  await core.push(runId, [asked])
  await core.claim(nodeId)
  const collect = (options?: { waitMs?: number; all?: boolean }) => core.collect(runId, [asked.messageId], options)
  return { core, nodeId, runId, asked, collect, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('a ServerApp that waits gets a reply when its last object has come, not when it is announced', async () => {
  await using world = await setUp()
  const { core, asked, collect } = world
  const reply = core.replyTo(asked, { bytes: 100_000 })
  const held = collect({ waitMs: 60_000 })
  let isHere = false
  void held.then(() => {
    isHere = true
  })
  assert.equal((await core.reply(reply, { upload: false })).accepted, true)
  const [last, ...first] = [...reply.deflated.objects]
  for (const [id, bytes] of first) await core.uploadObject(reply, id, bytes())
  await settled()
  assert.equal(isHere, false)
  const [id = '', bytes] = last ?? []
  await core.uploadObject(reply, id, (bytes as () => Uint8Array)())
  assert.deepEqual(
    (await held).map(({ metadata }) => metadata.messageId),
    [reply.messageId],
  )
})

test('a reply is handed out until it is confirmed; then it is forgotten with its instruction', async () => {
  await using world = await setUp()
  const { core, asked, collect } = world
  const reply = core.replyTo(asked)
  await core.reply(reply)
  for (let time = 0; time < 2; time++) assert.equal((await collect())[0]?.metadata.messageId, reply.messageId)
  await core.confirm(reply)
  assert.deepEqual(await core.leftovers(), nothing)
})

/** Two replies fit into one response after this. */
async function enlargeReplies({ ctx }: SuperlinkCore): Promise<void> {
  // A field that no release knows, in a tree that came with it.
  const padding = delimited(2047, new Uint8Array(limits.repliesPerPullBytesMax * 0.4))
  await ctx.db.transaction((tx) =>
    sql`UPDATE message SET object_tree = CAST(object_tree || ${padding} AS BLOB) WHERE reply_to <> ''`.execute(tx),
  )
}

test('a ServerApp that waits for all gets the first part when more has come at once than fits', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked } = world
  const others = [1, 2, 3].map(() => core.instruction(runId, nodeId))
  await core.push(runId, others)
  for (const one of others) assert.ok(await core.claim(nodeId), one.messageId)
  const answered = [asked, ...others.slice(0, 2)]
  for (const one of answered) await core.reply(core.replyTo(one))
  await enlargeReplies(core)
  const { db, bells } = core.ctx
  const setState = (state: MessageState) =>
    db.transaction((tx) => sql`UPDATE message SET state = ${state} WHERE reply_to <> ''`.execute(tx))
  await setState('announced')
  const ids = [asked, ...others].map(({ messageId }) => messageId)
  const collected = core.collect(runId, ids, { waitMs: 60_000, all: true })
  let isHere = false
  void collected.then(() => {
    isHere = true
  })
  await settled()
  await setState('offered')
  for (const { messageId } of answered) bells.replies.arrived(runId, messageId)
  await settled()
  assert.equal(isHere, true)
  assert.deepEqual(
    (await collected).map(({ metadata }) => metadata.replyToMessageId),
    ids.slice(0, 2),
  )
})

test('replies that do not fit into one response follow in the next, and none is failed meanwhile', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked } = world
  const others = [1, 2].map(() => core.instruction(runId, nodeId))
  await core.push(runId, others)
  const all = [asked, ...others]
  for (const one of others) assert.ok(await core.claim(nodeId), one.messageId)
  for (const one of all) await core.reply(core.replyTo(one))
  await enlargeReplies(core)
  const ids = all.map(({ messageId }) => messageId)
  for (const wait of [{}, { waitMs: 60_000, all: true }]) {
    const replies = await core.collect(runId, ids, wait)
    assert.deepEqual(
      replies.map(({ metadata, error }) => [metadata.replyToMessageId, error]),
      ids.slice(0, 2).map((id) => [id, undefined]),
    )
  }
  const [first] = await core.collect(runId, ids)
  await core.ctx.db.transaction((tx) =>
    sql`DELETE FROM message WHERE message_id = ${first?.metadata.messageId}`.execute(tx),
  )
  const rest = await core.collect(runId, ids.slice(1))
  assert.deepEqual(
    rest.map(({ metadata }) => metadata.replyToMessageId),
    ids.slice(1),
  )
})

test('the same reply again is taken again, and another to the same instruction is refused', async () => {
  await using world = await setUp()
  const { core, asked } = world
  const reply = core.replyTo(asked)
  const first = await core.reply(reply, { upload: false })
  assert.deepEqual(await core.reply(reply, { upload: false }), first)
  assert.deepEqual(await core.reply(core.replyTo(asked)), { accepted: false, objectsToPush: [] })
  assert.equal(core.ctx.progress.of(world.runId).replied, 1)
})

test('a reply to what was not asked of this node, or that would outlive its instruction, is refused', async () => {
  await using world = await setUp({ ttl: 100 })
  const { core, asked, runId } = world
  const other = await core.join('other')
  const { runId: another } = await core.run()
  const reply = core.replyTo(asked)
  const changed = (fields: object) => ({ ...reply, metadata: { ...reply.metadata, ...fields } })
  const wrong = [
    core.replyTo({ ...asked, metadata: { ...asked.metadata, dstNodeId: other } }),
    core.replyTo({ ...asked, metadata: { ...asked.metadata, runId: another } }),
    core.replyTo({ ...asked, messageId: '0'.repeat(64) }),
    changed({ ttl: 1000 }),
  ]
  for (const one of wrong) assert.equal((await core.reply(one)).accepted, false)
  assert.deepEqual(core.ctx.progress.of(runId), { asked: 1, replied: 0, failed: 0 })
})

test('a ServerApp hears at once that a node is gone, by whichever way it went', async () => {
  const ways = {
    left: (core: SuperlinkCore, id: Parameters<typeof cutOffNode>[1]) => deactivateNode(core.ctx, id),
    'was cut off': (core: SuperlinkCore, id: Parameters<typeof cutOffNode>[1]) => cutOffNode(core.ctx, id),
    'went silent': async (core: SuperlinkCore) => {
      core.clock.advance(61_000)
      await expireNodes(core.ctx)
    },
  }
  for (const [way, leave] of Object.entries(ways)) {
    await using world = await setUp()
    const held = world.collect({ waitMs: 60_000 })
    await settled()
    await leave(world.core, world.nodeId)
    assert.equal((await held)[0]?.error?.code, errorCodes.nodeUnavailable, way)
  }
})

test('a ServerApp that waits for any reply gets an error for what it pushes meanwhile to a node that is offline', async () => {
  await using world = await setUp()
  const { core, runId } = world
  const offline = await core.join('offline')
  await deactivateNode(core.ctx, offline)
  const { signal } = new AbortController()
  const held = collectReplies(core.ctx, runId, undefined, { waitMs: 60_000, signal, all: false })
  await settled()
  await core.push(runId, [core.instruction(runId, offline)])
  assert.equal((await held)[0]?.error?.code, errorCodes.nodeUnavailable)
})

test('an instruction that expires unanswered becomes an error, and a reply that comes later is refused', async () => {
  await using world = await setUp({ ttl: 30 })
  const { core, asked, collect } = world
  core.clock.advance(31_000)
  const [error] = await collect()
  assert.equal(error?.error?.code, errorCodes.messageUnavailable)
  assert.equal((await core.reply(core.replyTo(asked))).accepted, false)
  assert.equal((await collect())[0]?.metadata.messageId, error?.metadata.messageId, 'the error stays the same')
})

test('a reply that was announced and never came is replaced by the error, and leaves nothing', async () => {
  await using world = await setUp({ ttl: 30 })
  const { core, asked, runId, collect } = world
  const reply = core.replyTo(asked, { bytes: 100_000 })
  await core.reply(reply, { upload: false })
  core.clock.advance(31_000)
  const [error] = await collect()
  assert.equal(error?.error?.code, errorCodes.messageUnavailable)
  assert.deepEqual(core.ctx.progress.of(runId), { asked: 1, replied: 1, failed: 1 })
  const [[id, bytes] = ['', () => new Uint8Array()]] = [...reply.deflated.objects]
  assert.equal(await core.uploadObject(reply, id, bytes()), 'unknown')
  await core.confirm({
    ...asked,
    messageId: error?.metadata.messageId ?? '',
    metadata: error?.metadata ?? asked.metadata,
  })
  assert.deepEqual(await core.leftovers(), nothing)
})

test('a node that was silent for a while goes on with the reply that it had begun', async () => {
  await using world = await setUp()
  const { core, asked, nodeId, collect } = world
  const reply = core.replyTo(asked)
  await core.reply(reply, { upload: false })
  core.clock.advance(61_000)
  await expireNodes(core.ctx)
  await heartbeat(core.ctx, nodeId, 30_000)
  assert.deepEqual(
    await core.uploadObject(reply, reply.messageId, new Uint8Array()).catch(() => 'malformed'),
    'mismatch',
  )
  assert.equal((await core.reply(reply)).accepted, true)
  assert.equal((await collect())[0]?.metadata.messageId, reply.messageId)
})

test('a SuperNode that is restarted gets again what it had not confirmed, and what it had is an error', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked } = world
  const confirmed = core.instruction(runId, nodeId)
  await core.push(runId, [confirmed])
  await core.claim(nodeId)
  await core.confirm(confirmed)
  await core.join('node')
  assert.equal((await core.claim(nodeId))?.metadata.messageId, asked.messageId)
  assert.equal(await core.claim(nodeId), undefined)
  const [reply] = await core.collect(runId, [confirmed.messageId])
  assert.match(reply?.error?.reason ?? '', /was restarted before it answered/)
})

test('a reply that was whole before its SuperNode was restarted stands, and its instruction is not handed out again', async () => {
  await using world = await setUp()
  const { core, nodeId, asked, collect } = world
  const reply = core.replyTo(asked)
  await core.reply(reply)
  await core.join('node')
  assert.equal(await core.claim(nodeId), undefined)
  assert.equal((await collect())[0]?.metadata.messageId, reply.messageId)
})

test('of many instructions a ServerApp gets what is there, or all when it asks for all', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked } = world
  const late = core.instruction(runId, nodeId)
  await core.push(runId, [late])
  await core.claim(nodeId)
  const ids = [asked.messageId, late.messageId]
  await core.reply(core.replyTo(asked))
  assert.equal((await core.collect(runId, ids, { waitMs: 60_000 })).length, 1)
  const all = core.collect(runId, ids, { waitMs: 60_000, all: true })
  await core.reply(core.replyTo(late, { error: { code: errorCodes.clientAppRaisedException, reason: 'no' } }))
  assert.deepEqual(
    (await all).map(({ error }) => error?.reason),
    [undefined, 'no'],
  )
  assert.deepEqual(core.ctx.progress.of(runId), { asked: 2, replied: 2, failed: 1 })
})

test('nothing is kept of a reply that was checked as it came if its run ends, or it is confirmed, at once', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked } = world
  const next = core.instruction(runId, nodeId)
  await core.push(runId, [next])
  await core.claim(nodeId)
  const { bells, checkedReplies } = core.ctx
  const { arrived } = bells.replies
  const reply = core.replyTo(asked)
  const counts: number[] = []
  // A ServerApp may act as soon as it is notified.
  bells.replies.arrived = (...of) => {
    arrived.apply(bells.replies, of)
    queueMicrotask(() => {
      counts.push(checkedReplies.count)
      if (counts.length === 1) checkedReplies.forget([reply.messageId])
      else checkedReplies.forgetRun(runId)
    })
  }
  await core.reply(reply, { upload: false, carries: true })
  assert.equal(checkedReplies.count, 0)
  await core.reply(core.replyTo(next), { upload: false, carries: true })
  assert.equal(checkedReplies.count, 0)
  assert.deepEqual(counts, [1, 1])
})
