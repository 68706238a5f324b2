import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { SupernodeCore } from '../../test/harness/supernode-core.ts'
import type { RunId } from '../base/ids.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import type { Task } from '../tasks/task.ts'
import { fleet } from './fleet.ts'

const run = 1n as RunId

async function finishFailed({ ctx }: SupernodeCore, { taskId }: Task): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    await ctx.tasks.finish(tx, afterCommit, taskId, 'failed', 'exit status 3')
  })
}

/** Resolves when `done` returns true; the SuperNode works in between. The runner ends a test that never gets there. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve))
}

const received = (node: SupernodeCore, count: number): Promise<void> =>
  until(() => node.lines.filter((line) => line.includes('Received:')).length === count)

/** The next requests for a run get their response when the test says so. */
function holdRuns(node: SupernodeCore): { asked: Promise<void>; release: () => void } {
  const asked = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  node.ctx.runs.forget(run)
  node.fleet.beforeResponse = async (method) => {
    if (method !== fleet.getFab) return
    asked.resolve()
    await released.promise
  }
  return { asked: asked.promise, release: released.resolve }
}

const pendingTask = async ({ ctx }: SupernodeCore): Promise<Task | undefined> =>
  (await ctx.tasks.acquire({ types: ['flwr-clientapp'], waitMs: 0, signal: ctx.signal }))?.task

test('an instruction is executed once though another of its run arrives while it is being started', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(run)
  const [second, third] = [node.instruct(run), node.instruct(run)]
  const first = await node.takeTask()
  await received(node, 3)
  // The end of the first instruction and the arrival of the fourth wait for the same response.
  const { asked, release } = holdRuns(node)
  await finishFailed(node, first)
  await asked
  const fourth = node.instruct(run)
  await received(node, 4)
  release()
  for (const messageId of [second, third, fourth]) {
    const task = await node.takeTask()
    assert.equal(task.messageId, messageId)
    assert.equal(await pendingTask(node), undefined)
    await node.pushReply(task)
    await node.finish(task)
  }
  await node.fleet.replied(4)
  await until(() => node.ctx.work.size === 0)
  assert.deepEqual(await node.leftovers(), {})
})

test('an instruction whose run ends while it is being started is not executed and leaves nothing', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(run)
  node.instruct(run)
  const first = await node.takeTask()
  await received(node, 2)
  const { asked, release } = holdRuns(node)
  await finishFailed(node, first)
  await asked
  node.fleet.endRun(run)
  await until(() => node.lines.some((line) => line.includes('its run has ended')))
  release()
  // Another run shows that the node has done all this.
  node.instruct(2n)
  const other = await node.takeTask()
  assert.equal(other.runId, 2n)
  await node.pushReply(other)
  await node.finish(other)
  await until(() => node.ctx.work.size === 0)
  assert.equal(await pendingTask(node), undefined)
  assert.deepEqual(await node.leftovers(), {})
})

test('an instruction that cannot be started is replied to with the reason, and the next one gets its turn', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(run)
  const second = node.instruct(run)
  const third = node.instruct(run)
  const first = await node.takeTask()
  await received(node, 3)
  node.ctx.runs.forget(run)
  let failures = 1
  node.fleet.beforeResponse = async (method) => {
    if (method === fleet.getRun && failures-- > 0) throw new RpcError('internal', 'The disk is broken.')
  }
  await finishFailed(node, first)
  const next = await node.takeTask()
  assert.equal(next.messageId, third)
  await node.fleet.replied(2)
  const reply = node.fleet.replies.find(({ metadata }) => metadata?.replyToMessageId === second)
  assert.match(reply?.error?.reason ?? '', /did not hand the app over: The disk is broken/)
})

test('instructions that wait for their run come again after the SuperLink has forgotten the node', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(run)
  node.instruct(run)
  const first = await node.takeTask()
  await received(node, 2)
  node.ctx.runs.forget(run)
  node.fleet.beforeResponse = async (method) => {
    if (method === fleet.getRun) throw new RpcError('unauthenticated', 'The node is not known')
  }
  await finishFailed(node, first)
  await node.fleet.replied(1)
  await until(() => node.ctx.work.size === 0)
  assert.equal(node.fleet.confirmed.length, 1)
  assert.deepEqual(await node.leftovers(), {})
})

test('a SuperNode that may have missed the end of a run asks for it, and ends its work', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(run)
  await node.takeTask()
  // Calls for the instruction itself may still be under way, so only this question is refused.
  node.fleet.beforeResponse = async (method, { runId }) => {
    if (method === fleet.getRun && runId === run) throw new RpcError('permission-denied', 'Run ended', { kind: 'peer' })
  }
  // Nothing was missed.
  node.fleet.endedRunsSeen += 1n
  node.instruct(2n)
  const other = await node.takeTask()
  assert.equal(node.ctx.work.ofRun(run).length, 1)
  assert.equal(node.fleet.calls.get('getRun'), 2)
  // The SuperLink was restarted before it told the end.
  node.fleet.endedRunsSeen += 1_000_000n
  node.instruct(2n)
  await until(() => node.ctx.work.ofRun(run).length === 0)
  await node.pushReply(other)
  await node.finish(other)
  await node.fleet.replied(1)
})

test('a disk that fails while a run ends is reported and ends nothing else', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(run)
  await node.takeTask()
  const disk = mock.method(node.ctx.db, 'transaction', () => Promise.reject(new Error('disk I/O error')), { times: 1 })
  node.fleet.endRun(run)
  await until(() => node.lines.some((line) => line.includes('The end of an instruction failed')))
  assert.equal(disk.mock.callCount(), 1)
  node.instruct(2n)
  assert.equal((await node.takeTask()).runId, 2n)
})
