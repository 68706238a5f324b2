import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SupernodeCore } from '../../test/harness/supernode-core.ts'
import type { RunId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { errorCodes } from '../message/message.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'

const stateOf = (count: number): RecordDict => new RecordDict({ seen: new ConfigRecord({ count }) })

async function finishFailed({ ctx }: SupernodeCore, taskId: Parameters<typeof ctx.tasks.finish>[2], details: string) {
  await ctx.db.transaction(async (tx, afterCommit) => {
    await ctx.tasks.finish(tx, afterCommit, taskId, 'failed', details)
  })
}

test('a reply is sent once its state has arrived, and the next message of the run meets that state', async () => {
  await using node = await SupernodeCore.create()
  const id = node.instruct(1n)
  const task = await node.takeTask()
  const replyId = await node.pushReply(task)
  assert.equal(node.fleet.replies.length, 0)
  await node.finish(task, stateOf(1))
  await node.fleet.replied(1)
  assert.equal(node.fleet.replies[0]?.metadata?.messageId, replyId)
  assert.equal(node.fleet.replies[0]?.metadata?.replyToMessageId, id)
  assert.equal((await node.ctx.runs.get(1n as RunId)).context.state.get('seen')?.get('count'), 1)
})

test('a reply whose state never arrives becomes an error: a success would hide the loss', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(1n)
  const task = await node.takeTask()
  await node.pushReply(task)
  await finishFailed(node, task.taskId, 'No heartbeat received from the task')
  await node.fleet.replied(1)
  const error = node.fleet.replies[0]?.error
  assert.equal(Number(error?.code), errorCodes.clientAppCrashed)
  assert.match(error?.reason ?? '', /No heartbeat received/)
})

test('a reply whose state could not be kept becomes an error, although the app has ended well', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(1n)
  const task = await node.takeTask()
  await node.pushReply(task)
  node.ctx.runs.keep = () => {
    throw new Error('no room')
  }
  await assert.rejects(node.finish(task, stateOf(1)))
  await finishFailed(node, task.taskId, 'exit status 1')
  await node.fleet.replied(1)
  assert.equal(Number(node.fleet.replies[0]?.error?.code), errorCodes.clientAppCrashed)
})

/** As if the disk were full: the next reply that an app pushes is rolled back after the body of its transaction has run. */
function failNextReply({ backend, ctx: { db } }: SupernodeCore): void {
  const { pushMessages } = backend
  const { transaction } = db
  backend.pushMessages = (...given) => {
    backend.pushMessages = pushMessages
    db.transaction = (body) => {
      db.transaction = transaction
      return db.transaction(async (...of) => {
        await body(...of)
        throw new Error('The disk is full.')
      })
    }
    // It calls the transaction at once, before any other work of the node can.
    return pushMessages(...given)
  }
}

test('a reply that could not be stored is none, and does not replace the former one', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(1n)
  const task = await node.takeTask()
  failNextReply(node)
  await assert.rejects(node.pushReply(task), /disk is full/)
  await node.finish(task, stateOf(1))
  await node.fleet.replied(1)
  assert.equal(Number(node.fleet.replies[0]?.error?.code), errorCodes.clientAppCrashed)
  node.instruct(1n)
  const next = await node.takeTask()
  const replyId = await node.pushReply(next)
  failNextReply(node)
  await assert.rejects(node.pushReply(next, stateOf(2)), /disk is full/)
  await node.finish(next, stateOf(2))
  await node.fleet.replied(2)
  assert.equal(node.fleet.replies[1]?.metadata?.messageId, replyId)
})

test('of two replies that fail with one commit neither replaces the former one', async () => {
  await using node = await SupernodeCore.create()
  const { backend, ctx } = node
  const { db } = ctx
  node.instruct(1n)
  const task = await node.takeTask()
  const replyId = await node.pushReply(task)
  const { pushMessages } = backend
  const { transaction } = db
  const both = Promise.withResolvers<void>()
  let failed = 0
  backend.pushMessages = (...given) => {
    db.transaction = (body) => {
      db.transaction = transaction
      const ran = db.transaction(async (...of) => {
        await body(...of)
        throw new Error('The commit failed.')
      })
      ran.catch(() => ++failed === 2 && both.resolve())
      return both.promise.then(() => ran)
    }
    // It calls the transaction at once, before any other work of the node can.
    return pushMessages(...given)
  }
  const pushed = [1, 2].map((count) => node.pushReply(task, stateOf(count)))
  for (const outcome of await Promise.allSettled(pushed))
    assert.match(outcome.status === 'rejected' ? outcome.reason.message : '', /commit failed/)
  await node.finish(task)
  await node.fleet.replied(1)
  assert.equal(node.fleet.replies[0]?.metadata?.messageId, replyId)
})

test('a reply that came with an end that could not be stored is not sent without its state', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(1n)
  const task = await node.takeTask()
  const { tasks } = node.ctx
  tasks.finish = async (...given) => {
    Reflect.deleteProperty(tasks, 'finish')
    await tasks.finish(...given)
    throw new Error('The disk is full.')
  }
  await assert.rejects(node.finishWithReply(task, stateOf(1)), /disk is full/)
  await node.finish(task)
  await node.fleet.replied(1)
  assert.equal(Number(node.fleet.replies[0]?.error?.code), errorCodes.clientAppCrashed)
})

test('an app that ends without a reply is reported with the reason, and the next message of the run starts', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(1n)
  node.instruct(1n)
  const task = await node.takeTask()
  await finishFailed(node, task.taskId, 'exit status 3')
  const next = await node.takeTask()
  await node.pushReply(next)
  await node.finish(next)
  await node.fleet.replied(2)
  const reasons = node.fleet.replies.map(({ error }) => error?.reason)
  assert.deepEqual(reasons.sort(), ['ClientApp stopped responding. exit status 3', undefined])
})

test('an end that comes after the end of the task changes no state', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(1n)
  const task = await node.takeTask()
  await node.pushReply(task)
  await finishFailed(node, task.taskId, 'lease')
  await node.finish(task, stateOf(7))
  await node.fleet.replied(1)
  assert.deepEqual([...(await node.ctx.runs.get(1n as RunId)).context.state.keys()], [])
})

test('a node that has worked for hundreds of messages of hundreds of runs keeps nothing of them', async () => {
  await using node = await SupernodeCore.create()
  const runs = 100
  const perRun = 2
  // Every fourth object is a file.
  const blobBytes = (count: number): number => (count % 4 === 0 ? limits.objectInlineBytesMax + count : count)
  const work = async (): Promise<void> => {
    for (let done = 0; done < (runs * perRun) / 4; done++) {
      const task = await node.takeTask()
      if (done % 7 === 0) await finishFailed(node, task.taskId, 'exit status 1')
      else {
        await node.pushReply(task, new RecordDict({ c: new ConfigRecord({ blob: new Uint8Array(blobBytes(done)) }) }))
        // A second reply takes the place of the first.
        if (done % 5 === 0) await node.pushReply(task)
        if (done % 11 === 0) await finishFailed(node, task.taskId, 'no state')
        else await node.finish(task, stateOf(done))
      }
    }
  }
  const workers = [work(), work(), work(), work()]
  for (let message = 0; message < runs * perRun; message++)
    node.instruct(BigInt(1 + (message % runs)), blobBytes(message))
  await Promise.all(workers)
  await node.fleet.replied(runs * perRun)
  for (let run = 1; run <= runs; run++) node.fleet.endRun(BigInt(run) as RunId)
  // Another run shows that the node has heard of all these ends.
  node.instruct(1000n)
  const last = await node.takeTask()
  await node.pushReply(last)
  await node.finish(last)
  await node.fleet.replied(runs * perRun + 1)
  assert.deepEqual(await node.leftovers(), {})
  assert.equal(node.ctx.work.size, 0)
  assert.ok(node.ctx.runs.size <= 64, String(node.ctx.runs.size))
})
