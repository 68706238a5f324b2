import assert from 'node:assert/strict'
import { test } from 'node:test'
import { queryObjects } from 'node:v8'
import { nothing, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { confirmReceived } from './confirm.ts'

const nodeCount = 60
/** Live objects of all kinds after a collection of garbage, without those that a run keeps to show what its nodes did. */
function countLive(core: SuperlinkCore, runId: RunId): number {
  return Number(queryObjects(Object)) - core.ctx.progress.work.of(runId).spans.length
}

async function round(core: SuperlinkCore, runId: RunId, nodes: readonly NodeId[]): Promise<void> {
  const instructions = nodes.map((nodeId) => core.instruction(runId, nodeId))
  await core.push(runId, instructions, { upload: false, carries: true })
  const claimed = await Promise.all(nodes.map((nodeId) => core.claim(nodeId, new AbortController().signal)))
  assert.ok(claimed.every((message) => message !== undefined))
  const replies = instructions.map((instruction) => core.replyTo(instruction))
  await Promise.all(replies.map((reply) => core.reply(reply, { upload: false, carries: true })))
  const ids = instructions.map(({ messageId }) => messageId)
  assert.equal((await core.collect(runId, ids)).length, nodes.length)
  await confirmReceived(
    core.ctx,
    runId,
    replies.map(({ messageId }) => messageId),
  )
  await settled()
}

test('the tenth round leaves no more behind than the third', async () => {
  await using core = await SuperlinkCore.start()
  const nodes: NodeId[] = []
  for (let index = 0; index < nodeCount; index++) nodes.push(await core.join(`node ${index}`))
  const { runId } = await core.run()
  // A statement that inserts many rows is compiled for each of these numbers of rows when it is first needed. On a busy
  // machine replies arrive in other batches, so this must not happen between the two counts.
  for (const count of [1, 4, 32]) await round(core, runId, nodes.slice(0, count))
  for (let number = 1; number <= 3; number++) await round(core, runId, nodes)
  const before = countLive(core, runId)
  for (let number = 4; number <= 10; number++) await round(core, runId, nodes)
  const grown = countLive(core, runId) - before
  assert.deepEqual(await core.leftovers(), nothing)
  assert.equal(core.ctx.checkedReplies.count, 0)
  assert.equal(core.ctx.passingReplies.count, 0)
  // A few statements are compiled on the way.
  assert.ok(grown < 6 * nodeCount, `${grown} objects more than after the third round: one for each reply, or more`)
})
