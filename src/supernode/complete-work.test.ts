import assert from 'node:assert/strict'
import { test } from 'node:test'
import { letPass } from '../../test/harness/fake-clock.ts'
import { SupernodeCore } from '../../test/harness/supernode-core.ts'
import { completeWork } from './complete-work.ts'

test('a SuperNode that is to end replies to the message under way, and leaves the next ones to its next start', async () => {
  await using node = await SupernodeCore.create()
  const first = node.instruct(1n)
  node.instruct(1n)
  const task = await node.takeTask()
  node.leave()
  let hasEnded = false
  const completed = completeWork(node.ctx).then(() => {
    hasEnded = true
  })
  node.instruct(2n)
  await node.pushReply(task)
  assert.equal(hasEnded, false)
  await node.finish(task)
  await completed
  assert.deepEqual(
    node.fleet.replies.map(({ metadata }) => metadata?.replyToMessageId),
    [first],
  )
  assert.ok(
    node.lines.some((line) => /SIGTERM: takes no more messages, and has up to 30 s to reply to one message/.test(line)),
  )
})

test('a message whose app takes too long is left to the next start of its SuperNode', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(1n)
  await node.takeTask()
  node.leave()
  const before = node.ctx.clock.now()
  let hasEnded = false
  const completed = completeWork(node.ctx).then(() => {
    hasEnded = true
  })
  await letPass(node.ctx.clock as never, 'the end', () => hasEnded, 30_000)
  await completed
  assert.equal(node.ctx.clock.now() - before, 30_000)
  assert.equal(node.fleet.replies.length, 0)
  assert.match(node.lines.at(-1) ?? '', /^warn Ends without a reply to one message: the SuperLink keeps them/)
})

test('a SuperNode without work ends at once', async () => {
  await using node = await SupernodeCore.create()
  node.leave()
  await completeWork(node.ctx)
  assert.deepEqual(node.lines, [])
})
