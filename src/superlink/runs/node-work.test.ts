import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { replaceReply } from '../delivery/broken-replies.ts'
import { find } from '../delivery/message-store.ts'
import { appendEvents } from './events.ts'
import { NodeWork } from './node-work.ts'
import { RunProgress } from './progress.ts'

test('each reply is a span of its node: when it was asked, has fetched, and replied, and in which phase', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const [quick, slow] = [await core.join('quick'), await core.join('slow')]
  const { runId, taskId } = await core.run()
  const start = clock.now()
  for (const round of [1, 2]) {
    const data = JSON.stringify({ round, rounds: 2, phase: 'train' })
    await appendEvents(ctx, { runId, taskId }, [{ event: 'trellis.progress', data }])
    const asked = [quick, slow].map((nodeId) => core.instruction(runId, nodeId))
    await core.push(runId, asked)
    for (const nodeId of [quick, slow]) await core.claim(nodeId)
    for (const message of asked) {
      clock.advance(1000)
      await core.reply(core.replyTo(message))
    }
  }
  const { spans, totals } = ctx.progress.work.of(runId)
  assert.deepEqual(
    spans.map(({ nodeId, phase, label, fetchedAt = 0, repliedAt, failed }) => [
      nodeId === quick ? 'quick' : 'slow',
      phase,
      label,
      fetchedAt - start,
      repliedAt - start,
      failed,
    ]),
    [
      ['quick', 1, 'round 1 train', 0, 1000, false],
      ['slow', 1, 'round 1 train', 0, 2000, false],
      ['quick', 2, 'round 2 train', 2000, 3000, false],
      ['slow', 2, 'round 2 train', 2000, 4000, false],
    ],
  )
  assert.deepEqual(totals.get(slow), { replies: 2, failures: 0, seconds: 4, lastSeconds: 2 })
})

test('a reply that was announced and did not come whole is no work of its node; the error in its place is', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  await core.claim(nodeId)
  clock.advance(1000)
  const reply = core.replyTo(asked, { bytes: 100_000 })
  await core.reply(reply, { upload: false })
  clock.advance(2000)
  const announced = await find(ctx.db.read, reply.messageId)
  assert.ok(announced)
  await replaceReply(ctx, announced, 'was announced, and its objects stopped coming.')
  const { spans, totals } = ctx.progress.work.of(runId)
  assert.deepEqual(
    spans.map(({ failed }) => failed),
    [true],
  )
  assert.deepEqual(totals.get(nodeId), { replies: 1, failures: 1, seconds: 3, lastSeconds: 3 })
})

test('the name of a phase is kept short', () => {
  const progress = new RunProgress()
  progress.reported(1n as RunId, { round: 1, phase: 'x'.repeat(16_000) }, 0)
  const answered = {
    nodeId: 1n as NodeId,
    messageId: 'asked',
    askedAt: 0,
    fetchedAt: 0,
    repliedAt: 1,
    messageType: 'train',
  }
  progress.nodeReplied(1n as RunId, undefined, answered)
  const [span] = progress.work.of(1n as RunId).spans
  assert.equal(span?.label, `round 1 ${'x'.repeat(limits.workPhaseCharactersMax)}`)
})

test('old spans and old runs are dropped', () => {
  const work = new NodeWork()
  const span = { messageId: 'asked', phase: 1, label: '', askedAt: 0, fetchedAt: 0, repliedAt: 1, failed: true }
  for (let index = 0; index < limits.workSpansMax + 1; index++)
    work.answered(1n as RunId, { ...span, nodeId: BigInt(index) as NodeId })
  const { spans } = work.of(1n as RunId)
  assert.ok(spans.length <= limits.workSpansMax)
  assert.equal(spans.at(-1)?.nodeId, BigInt(limits.workSpansMax))
  for (let run = 2; run <= limits.workRunsMax + 1; run++)
    work.answered(BigInt(run) as RunId, { ...span, nodeId: 1n as NodeId })
  assert.equal(work.of(1n as RunId).spans.length, 0)
  assert.equal(work.of(2n as RunId).spans.length, 1)
})
