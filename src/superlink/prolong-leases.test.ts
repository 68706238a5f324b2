import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { SuperlinkCore, settled } from '../../test/harness/superlink-core.ts'
import type { AfterCommit, Db } from '../db/database.ts'
import { SimulationConfigSchema } from '../gen/flwr/proto/federation_config_pb.ts'
import { claimInstruction } from './delivery/instructions.ts'
import { unregisterNode } from './nodes/nodes.ts'
import { prolongLeases } from './prolong-leases.ts'

const longMs = 60_000

/** As if the database were lost after the next commit and before its response: it happens, and its effects do not. */
function loseNextResponse({ db }: SuperlinkCore['ctx']): void {
  const { transaction } = db
  const committed = (body: (tx: Db, afterCommit: AfterCommit) => Promise<unknown>) =>
    transaction.call(db, (tx) => body(tx, () => {}))
  mock.method(db, 'transaction', committed as typeof transaction, { times: 1 })
}

test('after a time without a database, calls see what was committed without a response', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const { signal } = new AbortController()
  const [nodeId, gone] = [await core.join('node'), await core.join('gone')]
  await ctx.knownNodes.find(gone)
  const { runId, taskId } = await core.run()
  const asked = core.instruction(runId, nodeId)
  const claimed = claimInstruction(ctx, nodeId, {
    waitMs: longMs,
    signal,
    hungUp: signal,
    endedAfter: undefined,
    takesWhole: true,
  })
  const alive = ctx.tasks.heartbeat(taskId, { waitMs: longMs, signal })
  await settled()
  loseNextResponse(ctx)
  await core.push(runId, [asked], { upload: false })
  loseNextResponse(ctx)
  await unregisterNode(ctx, gone)
  assert.equal((await ctx.knownNodes.find(gone))?.status, 'online')
  await prolongLeases(ctx)
  assert.equal((await claimed)?.metadata.messageId, asked.messageId)
  assert.equal((await ctx.knownNodes.find(gone))?.status, 'unregistered')
  const replies = core.collect(runId, [asked.messageId], { waitMs: longMs })
  await settled()
  const reply = core.replyTo(asked)
  loseNextResponse(ctx)
  await core.reply(reply, { carries: true, upload: false })
  await prolongLeases(ctx)
  assert.equal((await replies)[0]?.metadata.messageId, reply.messageId)
  loseNextResponse(ctx)
  await core.stop(runId)
  await prolongLeases(ctx)
  assert.equal(await alive, false)
})

test('after a time without a database, virtual nodes see what was committed without a response', async () => {
  await using core = await SuperlinkCore.start({ simulatedCpus: 1 })
  const { ctx } = core
  const { signal } = new AbortController()
  const { runId } = await core.run({ simulation: create(SimulationConfigSchema, { numSupernodes: 1 }) })
  const [node] = await ctx.runNodes.listReachable(runId)
  const push = () => core.push(runId, [core.instruction(runId, node?.nodeId ?? 0n)], { carries: true, upload: false })
  const acquire = () => ctx.tasks.acquire({ types: ['flwr-clientapp'], waitMs: 0, signal })
  loseNextResponse(ctx)
  await push()
  await settled()
  assert.equal(await acquire(), undefined)
  await prolongLeases(ctx)
  await settled()
  const first = await acquire()
  assert.ok(first)
  loseNextResponse(ctx)
  await ctx.db.transaction((tx, afterCommit) => ctx.tasks.lose(tx, afterCommit, first.task.taskId, 'It broke.'))
  await push()
  await settled()
  assert.equal(await acquire(), undefined)
  await prolongLeases(ctx)
  await settled()
  assert.ok(await acquire())
})
