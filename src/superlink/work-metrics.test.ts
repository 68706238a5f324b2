import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { observeQueries } from '../../test/harness/query-plans.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { SuperlinkCore } from '../../test/harness/superlink-core.ts'
import { Metrics } from '../base/metrics.ts'
import { inMemory } from '../db/database.ts'
import { errorCodes } from '../message/message.ts'
import { createWebhookMetrics } from './events/webhook.ts'
import { createBucketMetrics } from './open-objects.ts'
import { noteRefusals, tellQuotas } from './quotas/quota-metrics.ts'
import { appendEvents } from './runs/events.ts'
import { WorkMetrics } from './work-metrics.ts'

/** The samples of a metric: labels, then the value. */
async function read(metrics: Metrics, name: string): Promise<Record<string, number>> {
  const { body } = await metrics.text()
  const lines = body.split('\n').filter((line) => line.startsWith(name) && /[ {]/.test(line[name.length] ?? ''))
  return Object.fromEntries(
    lines.map((line) => {
      const [, labels = '', value] = /^\w+(?:\{(.*)\})? (.+)$/.exec(line) ?? []
      return [labels.replaceAll('"', ''), Number(value)]
    }),
  )
}

test('metrics show the runs, the nodes online and the messages that wait, and how long the oldest has', async () => {
  const metrics = new Metrics()
  const work = new WorkMetrics(metrics)
  await using core = await SuperlinkCore.start({ observer: work.observer })
  work.watch(core.ctx.db, { path: inMemory, clock: core.clock })
  const one = await core.join('one')
  const other = await core.join('other')
  const { runId } = await core.run()
  await core.run({ starts: false })
  await core.push(runId, [core.instruction(runId, one)])
  core.clock.advance(5_000)
  await core.push(runId, [core.instruction(runId, other)])
  await core.claim(one)
  core.clock.advance(7_000)
  assert.deepEqual(await read(metrics, 'trellis_runs'), {
    'status=pending': 0,
    'status=starting': 1,
    'status=running': 1,
  })
  assert.deepEqual(await read(metrics, 'trellis_nodes_online'), { '': 2 })
  assert.deepEqual(await read(metrics, 'trellis_messages'), { 'state=waiting': 1, 'state=at-node': 1 })
  assert.deepEqual(await read(metrics, 'trellis_message_oldest_seconds'), { 'state=waiting': 7, 'state=at-node': 12 })
  await core.stop(runId)
  assert.deepEqual(await read(metrics, 'trellis_runs_finished_total'), { 'result=stopped': 1 })
  assert.deepEqual(await read(metrics, 'trellis_messages'), { 'state=waiting': 0, 'state=at-node': 0 })
  assert.deepEqual(await read(metrics, 'trellis_message_oldest_seconds'), { 'state=waiting': 0, 'state=at-node': 0 })
})

test('the time of a reply counts from the delivery of its message, and that of a round from its start', async () => {
  const metrics = new Metrics()
  const work = new WorkMetrics(metrics)
  await using core = await SuperlinkCore.start({ observer: work.observer })
  const nodes = [await core.join('one'), await core.join('other')] as const
  const { runId, taskId } = await core.run()
  const report = (phase: string) =>
    appendEvents(core.ctx, { runId, taskId }, [
      { event: 'trellis.progress', data: JSON.stringify({ round: 1, rounds: 1, phase }) },
    ])
  await report('configure')
  const asked = nodes.map((nodeId) => core.instruction(runId, nodeId))
  await core.push(runId, asked)
  core.clock.advance(50_000)
  for (const nodeId of nodes) await core.beat(nodeId)
  for (const nodeId of nodes) await core.claim(nodeId)
  core.clock.advance(3_000)
  const broke = { code: errorCodes.clientAppRaisedException, reason: 'It broke.' }
  const replies = [core.replyTo(asked[0]!), core.replyTo(asked[1]!, { error: broke })]
  for (const reply of replies) await core.reply(reply)
  // The same reply again is no second one.
  await core.reply(replies[0]!)
  await report('round-end')
  assert.deepEqual(await read(metrics, 'trellis_reply_seconds_sum'), { 'result=content': 3, 'result=error': 3 })
  assert.deepEqual(await read(metrics, 'trellis_reply_seconds_count'), { 'result=content': 1, 'result=error': 1 })
  assert.deepEqual(await read(metrics, 'trellis_round_seconds_sum'), { '': 53 })
})

test('what an app reports cannot add a label or a time that makes no sense', async () => {
  const metrics = new Metrics()
  const work = new WorkMetrics(metrics)
  await using core = await SuperlinkCore.start({ observer: work.observer })
  const { runId, taskId } = await core.run()
  const names = metrics.labels()
  for (const data of [
    '{}',
    '{"round":"1","phase":"configure"}',
    '{"round":1,"phase":"round-end"}',
    '{"round":1,"phase":[]}',
  ])
    await appendEvents(core.ctx, { runId, taskId }, [{ event: 'trellis.progress', data }])
  assert.deepEqual(await read(metrics, 'trellis_round_seconds_count'), { '': 0 })
  assert.deepEqual(metrics.labels(), names)
})

test('every metric and label is in the reference page, and nothing else is', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/reference/metrics.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `(\w+_\w+)` \| (.*?) \|/gm)]
  const metrics = new Metrics()
  new WorkMetrics(metrics)
  createWebhookMetrics(metrics)
  createBucketMetrics(metrics)
  tellQuotas(metrics, { list: async () => [] })
  noteRefusals(metrics, { ...recordingLogger(), clock: new FakeClock() })
  assert.deepEqual(rows.map(([, name]) => name).sort(), metrics.names().sort())
  const labels = rows.flatMap(([, , cell = '']) => [...cell.matchAll(/`(\w+)`/g)].map(([, label]) => label as string))
  assert.deepEqual([...new Set(labels)].sort(), metrics.labels().sort())
})

test('what is read for metrics comes from the indexes of open tasks, online nodes and unanswered messages', async () => {
  await using core = await SuperlinkCore.start()
  const { start, plans } = observeQueries(core.ctx.db)
  const metrics = new Metrics()
  new WorkMetrics(metrics).watch(core.ctx.db, { path: inMemory, clock: core.clock })
  start()
  await metrics.text()
  const found = (await plans()).map(
    ({ plan }) => /SCAN \w+ USING (?:COVERING )?INDEX \w+|SEARCH.*?INDEX \w+/.exec(plan)?.[0],
  )
  assert.deepEqual(
    found.map((index) => index?.split(' ').at(-1)),
    ['task_open', 'node_online', 'message_expiry'],
  )
})
