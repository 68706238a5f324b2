import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { backToPending } from '../../tasks/task.ts'
import * as taskStore from '../../tasks/task-store.ts'
import { defaultQuotas } from '../quotas/config-quotas.ts'
import { appendEvents } from './events.ts'
import { appendLog, followLog } from './logs.ts'

const never = new AbortController().signal

test('a reader gets what is there in one part, what is added as it comes, and an end when the run has ended', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await core.run()
  await appendLog(core.ctx, runId, ['one\n', 'two\n'])
  await appendLog(core.ctx, runId, ['three\n'])
  const parts = followLog(core.ctx, runId, 0, never)
  assert.equal((await parts.next()).value?.logOutput, 'one\ntwo\nthree\n')
  const next = parts.next()
  await appendLog(core.ctx, runId, ['four\n'])
  assert.equal((await next).value?.logOutput, 'four\n')
  const last = parts.next()
  await core.stop(runId)
  assert.equal((await last).done, true)
})

test('a reader that comes back with its cursor gets the rest, also when all lines came at the same moment', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await core.run()
  for (const text of ['a', 'b', 'c']) await appendLog(core.ctx, runId, [text])
  const { value: all } = await followLog(core.ctx, runId, 0, never).next()
  const cursors = await core.ctx.db.read.selectFrom('run_log').select('logged_at_us').orderBy('id').execute()
  const { value: rest } = await followLog(core.ctx, runId, Number(cursors[0]?.logged_at_us) / 1e6, never).next()
  assert.deepEqual([all?.logOutput, rest?.logOutput], ['abc', 'bc'])
  assert.equal(all?.latestTimestamp, rest?.latestTimestamp)
})

test('a log has a limit, which is noted once, and so has a line', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await core.run()
  await appendLog(core.ctx, runId, ['x'.repeat(limits.logLineBytesMax + 10)])
  await core.ctx.db.transaction((tx) => tx.updateTable('run').set({ log_bytes: defaultQuotas.runLogBytes }).execute())
  for (let time = 0; time < 3; time++) await appendLog(core.ctx, runId, ['more\n'])
  const { value } = await followLog(core.ctx, runId, 0, never).next()
  assert.match(
    value?.logOutput ?? '',
    /^x{65536} \[line cut\]\n\n\[The log ends here: it is longer than 64M \(--quota-run-log of the SuperLink\)\]\n$/,
  )
})

test('there is no log of a run that never was, and readers that hang up wait no longer', async () => {
  await using core = await SuperlinkCore.start()
  await assert.rejects(followLog(core.ctx, 5n as RunId, 0, never).next(), { code: 'run-not-found' })
  const { runId } = await core.run()
  const hangUp = new AbortController()
  const next = followLog(core.ctx, runId, 0, hangUp.signal).next()
  hangUp.abort()
  assert.equal((await next).done, true)
})

test('lines that an app sends again, because the response was lost, are in the log once', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const { runId, taskId } = await core.run()
  const send = (batch: bigint, line: string) => appendLog(ctx, runId, [line], { taskId, batch })
  await send(1n, 'one\n')
  await send(2n, 'two\n')
  await send(2n, 'two\n')
  await send(3n, 'three\n')
  await send(0n, 'from a program that does not count\n')
  await send(0n, 'from a program that does not count\n')
  const { value } = await followLog(ctx, runId, 0, never).next()
  assert.equal(value?.logOutput, `one\ntwo\nthree\n${'from a program that does not count\n'.repeat(2)}`)
})

test('lines and events whose number no database can keep are invalid, and so none of them counts as another', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const run = await core.run()
  const { runId, taskId } = run
  const send = (batch: bigint) => appendLog(ctx, runId, [`${batch}\n`], { taskId, batch })
  const report = (batch: bigint) => appendEvents(ctx, run, [{ event: 'trellis.progress', data: '{}' }], batch)
  const last = BigInt(Number.MAX_SAFE_INTEGER)
  await send(last)
  await report(last)
  for (const batch of [last + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    await assert.rejects(send(batch), { code: 'invalid-request' })
    await assert.rejects(report(batch), { code: 'invalid-request' })
  }
  assert.equal((await followLog(ctx, runId, 0, never).next()).value?.logOutput, `${last}\n`)
})

test('each launch of an app counts its lines from the beginning', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const { runId, taskId } = await core.run({ starts: false })
  await appendLog(ctx, runId, ['one\n'], { taskId, batch: 1n })
  await ctx.db.transaction((tx) => taskStore.update(tx, taskId, backToPending))
  assert.ok(await ctx.tasks.acquireOfRun('flwr-serverapp', runId))
  await appendLog(ctx, runId, ['two\n'], { taskId, batch: 1n })
  const { value } = await followLog(ctx, runId, 0, never).next()
  assert.equal(value?.logOutput, 'one\ntwo\n')
})
