import assert from 'node:assert/strict'
import { test } from 'node:test'
import { observeQueries } from '../../../test/harness/query-plans.ts'
import { SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { errorCodes } from '../../message/message.ts'
import { deactivateNode, expireNodes } from '../nodes/nodes.ts'

/** A ServerApp that waits for so many replies, each of another node. */
async function waiting(count: number, { all }: { all: boolean }) {
  const core = await SuperlinkCore.start()
  const { runId } = await core.run()
  const nodes = await Promise.all(Array.from({ length: count }, (_, index) => core.join(`node-${index}`)))
  const asked = nodes.map((nodeId) => core.instruction(runId, nodeId))
  await core.push(runId, asked)
  for (const nodeId of nodes) await core.claim(nodeId)
  const ids = asked.map(({ messageId }) => messageId)
  const collected = core.collect(runId, ids, { waitMs: 3_600_000, all })
  await settled()
  return { core, runId, nodes, asked, ids, collected, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

const total = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((sum, one) => sum + one, 0)

test('a reply costs as many statements and rows, however many other replies its ServerApp waits for', async () => {
  const costs: unknown[] = []
  for (const count of [3, 60]) {
    await using world = await waiting(count, { all: true })
    const { core, asked } = world
    const { start, counts, rowsMost } = observeQueries(core.ctx.db)
    start()
    await core.reply(core.replyTo(asked[1] as (typeof asked)[number]))
    await settled()
    costs.push({ statements: total(counts()), rowsMost: rowsMost() })
    await core.stop(world.runId)
    await assert.rejects(world.collected, { code: 'run-not-running' })
  }
  assert.deepEqual(costs[1], costs[0])
})

test('news of other messages and nodes costs a ServerApp that waits no statement', async () => {
  await using world = await waiting(3, { all: false })
  const { core, runId, asked, collected } = world
  const other = await core.join('other')
  const { start, counts } = observeQueries(core.ctx.db)
  await core.push(runId, [core.instruction(runId, other)])
  await deactivateNode(core.ctx, other)
  await settled()
  start()
  core.ctx.bells.replies.arrived(runId, 'another')
  core.ctx.bells.replies.nodesGone([other])
  core.ctx.bells.replies.expired(core.clock.now())
  await settled()
  assert.deepEqual(counts(), new Map())
  const reply = core.replyTo(asked[0] as (typeof asked)[number])
  await core.reply(reply)
  assert.deepEqual(
    (await collected).map(({ metadata }) => metadata.messageId),
    [reply.messageId],
  )
})

test('a ServerApp that waits for everything looks at what is sent to a node that is away, and at what comes unasked', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await core.run()
  const nodeId = await core.join('node')
  const everything = () => core.collectAll(runId, { waitMs: 3_600_000 })
  await core.push(runId, [core.instruction(runId, nodeId)])
  const note = core.unprompted(runId, nodeId)
  const first = everything()
  await settled()
  await core.sendUnprompted(note)
  assert.equal((await first)[0]?.metadata.messageId, note.messageId)
  await core.confirm(note)
  const second = everything()
  await settled()
  await deactivateNode(core.ctx, nodeId)
  assert.equal((await second)[0]?.error?.code, 5)
})

test('every reply that is waited for is returned, whatever the order in which they come', async () => {
  await using world = await waiting(5, { all: true })
  const { core, nodes, asked, ids, collected } = world
  for (const index of [3, 0, 4]) await core.reply(core.replyTo(asked[index] as (typeof asked)[number]))
  await settled()
  await deactivateNode(core.ctx, nodes[2] as (typeof nodes)[number])
  await settled()
  await core.reply(core.replyTo(asked[1] as (typeof asked)[number]))
  const replies = await collected
  assert.deepEqual(replies.map(({ metadata }) => metadata.replyToMessageId).toSorted(), ids.toSorted())
  assert.deepEqual(
    replies.filter(({ error }) => error).map(({ metadata }) => metadata.replyToMessageId),
    [ids[2]],
  )
})

test('of many nodes that have gone together each costs two statements at most until its error is handed out', async () => {
  const costs: number[] = []
  const counted = [10, 60] as const
  for (const count of counted) {
    await using world = await waiting(count, { all: true })
    const { core, ids, collected } = world
    core.clock.advance(61_000)
    await expireNodes(core.ctx)
    const { start, counts } = observeQueries(core.ctx.db)
    start()
    const replies = await collected
    costs.push(total(counts()))
    assert.deepEqual(replies.map(({ metadata }) => metadata.replyToMessageId).toSorted(), ids.toSorted())
    assert.ok(replies.every(({ error }) => error?.code === errorCodes.nodeUnavailable))
  }
  const [few = 0, many = 0] = costs
  const each = (many - few) / (counted[1] - counted[0])
  assert.ok(each <= 2, `${each} statements for a node`)
})
