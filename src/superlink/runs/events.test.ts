import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { limits } from '../../base/limits.ts'
import { defaultQuotas } from '../quotas/config-quotas.ts'
import { appendEvents, followRunEvents, repliesEvent } from './events.ts'
import { followLog } from './logs.ts'
import { lookAtWaits } from './watch-waits.ts'

const never = new AbortController().signal

test('a program that watches a run sees what its app reports and how many replies there are, until the run ends', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId, taskId } = await core.run()
  const seen: string[] = []
  const watching = (async () => {
    for await (const { event, data } of followRunEvents(core.ctx, runId, 0n, never)) seen.push(`${event} ${data}`)
  })()
  const next = async (): Promise<void> => {
    await settled(10)
    // The pause between two looks.
    core.clock.advance(100)
    await settled(10)
  }
  await next()
  await appendEvents(core.ctx, { runId, taskId }, [{ event: 'round', data: '{"n":1}' }])
  await next()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  await next()
  await core.reply(core.replyTo(asked))
  await next()
  await core.stop(runId)
  await next()
  await watching
  const counts = (asked: number, replied: number) =>
    `${repliesEvent} {"asked":${asked},"replied":${replied},"failed":0}`
  assert.deepEqual(seen, [counts(0, 0), 'round {"n":1}', counts(1, 0), counts(1, 1)])
})

test('a program that watches a run sees which nodes are late, until they reply', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  const events = followRunEvents(core.ctx, runId, 0n, never)
  const nextReplies = async (): Promise<unknown> => JSON.parse((await events.next()).value?.data ?? '')
  assert.deepEqual(await nextReplies(), { asked: 1, replied: 0, failed: 0 })
  const second = nextReplies()
  await settled(10)
  core.clock.advance(limits.lateReplyMs)
  await lookAtWaits(core.ctx)
  assert.deepEqual(await second, { asked: 1, replied: 0, failed: 0, late: [`node ${nodeId}`] })
  const third = nextReplies()
  await settled(10)
  core.clock.advance(100)
  await core.reply(core.replyTo(asked))
  assert.deepEqual(await third, { asked: 1, replied: 1, failed: 0 })
  await events.return(undefined)
})

test('a watcher that comes back gets the events after the last that it saw', async () => {
  await using core = await SuperlinkCore.start()
  const { runId, taskId } = await core.run()
  await appendEvents(
    core.ctx,
    { runId, taskId },
    ['a', 'b', 'c'].map((event) => ({ event, data: '{}' })),
  )
  await core.stop(runId)
  const all = await Array.fromAsync(followRunEvents(core.ctx, runId, 0n, never))
  const rest = await Array.fromAsync(followRunEvents(core.ctx, runId, all[0]?.id ?? 0n, never))
  assert.deepEqual(
    [all, rest].map((events) => events.map(({ event }) => event)),
    [
      ['a', 'b', 'c'],
      ['b', 'c'],
    ],
  )
})

test('events that are no JSON objects, too large or too many are left out, and the others are kept', async () => {
  await using core = await SuperlinkCore.start()
  const { runId, taskId } = await core.run()
  const bad = ['[1]', 'null', '"text"', '{', JSON.stringify({ text: 'x'.repeat(limits.eventBytesMax) })]
  const events = [...bad.map((data) => ({ event: 'bad', data })), { event: 'x'.repeat(201), data: '{}' }]
  await appendEvents(core.ctx, { runId, taskId }, [...events, { event: 'good', data: '{}' }])
  const many = Array(defaultQuotas.runEvents).fill({ event: 'many', data: '{}' })
  await appendEvents(core.ctx, { runId, taskId }, many)
  const kept = await core.ctx.db.read.selectFrom('task_event').select('event').execute()
  assert.deepEqual(
    kept.map(({ event }) => event),
    ['good'],
  )
  await appendEvents(core.ctx, { runId, taskId }, many)
  const { value } = await followLog(core.ctx, runId, 0, never).next()
  const note =
    '\n[Further events of this run are not kept: a run may have 10000 (--quota-run-events of the SuperLink)]\n'
  assert.equal(value?.logOutput, note, 'the person is told once')
})

test('events that an app sends again, because the response was lost, are kept once', async () => {
  await using core = await SuperlinkCore.start()
  const run = await core.run()
  const send = (batch: bigint, round: number) =>
    appendEvents(core.ctx, run, [{ event: 'trellis.progress', data: JSON.stringify({ round }) }], batch)
  await send(1n, 1)
  await send(2n, 2)
  await send(2n, 2)
  await core.stop(run.runId)
  const rounds: number[] = []
  for await (const { data } of followRunEvents(core.ctx, run.runId, 0n, new AbortController().signal))
    rounds.push(JSON.parse(data).round)
  assert.deepEqual(rounds, [1, 2])
})
