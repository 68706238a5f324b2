import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emptyFab, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { limits } from '../../base/limits.ts'
import { appendEvents, followRunEvents } from './events.ts'
import { appendLog, followLog } from './logs.ts'
import { removeOldRuns } from './retention.ts'
import { startRun } from './start.ts'

const tables = ['run', 'series', 'task', 'run_log', 'task_event', 'checkpoint', 'fab', 'part', 'participant'] as const
const hourMs = 3_600_000
const never = new AbortController().signal

async function rowsOf({ ctx }: SuperlinkCore): Promise<Record<string, number>> {
  const counts = tables.map(async (table) => {
    const row = await ctx.db.read
      .selectFrom(table)
      .select(({ fn }) => fn.countAll<number>().as('n'))
      .executeTakeFirst()
    return [table, Number(row?.n)] as const
  })
  return Object.fromEntries(await Promise.all(counts))
}

/** A run with a log and events that has finished. */
async function finishedRun(core: SuperlinkCore, lines = 1) {
  const run = await core.run()
  for (let line = 0; line < lines; line++) await appendLog(core.ctx, run.runId, [`line ${line}\n`])
  await appendEvents(core.ctx, run, [{ event: 'trellis.progress', data: '{"round":1,"phase":"train"}' }])
  await core.stop(run.runId)
  core.clock.advance(hourMs)
  return run
}

async function runsOf({ ctx }: SuperlinkCore): Promise<bigint[]> {
  const rows = await ctx.db.read.selectFrom('run').select('run_id').execute()
  return rows.map(({ run_id }) => run_id).sort()
}

test('the newest finished runs are kept, and nothing is left of older ones', async () => {
  await using core = await SuperlinkCore.start()
  const before = await rowsOf(core)
  const [, , third, fourth] = [
    await finishedRun(core, limits.rowsPerRemoval + 10),
    await finishedRun(core),
    await finishedRun(core),
    await finishedRun(core),
  ]
  await removeOldRuns(core.ctx, { runs: 2 })
  assert.deepEqual(await runsOf(core), [third.runId, fourth.runId].sort())
  assert.equal(core.lines.at(-1), 'info Removed finished runs that --keep-runs does not keep')
  await removeOldRuns(core.ctx, { runs: 0 })
  assert.deepEqual(await rowsOf(core), before)
})

test('runs are kept for as many days as they should be', async () => {
  await using core = await SuperlinkCore.start()
  await finishedRun(core)
  core.clock.advance(23 * hourMs)
  const young = await finishedRun(core)
  await removeOldRuns(core.ctx, { days: 1 })
  assert.deepEqual(await runsOf(core), [young.runId])
})

test('a run that has not finished is never removed, however old it is, nor is its app', async () => {
  await using core = await SuperlinkCore.start()
  const active = await core.run()
  await finishedRun(core)
  core.clock.advance(1000 * 24 * hourMs)
  await removeOldRuns(core.ctx, { runs: 0 })
  await removeOldRuns(core.ctx, { days: 1 })
  assert.deepEqual(await runsOf(core), [active.runId])
  assert.equal((await rowsOf(core)).fab, 1)
})

test('a program that follows a run whose record is removed sees its end', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await finishedRun(core)
  const log = followLog(core.ctx, runId, 0, never)
  const events = followRunEvents(core.ctx, runId, 0n, never)
  await log.next()
  await events.next()
  await removeOldRuns(core.ctx, { runs: 0 })
  for (const stream of [log, events]) assert.equal((await stream.next()).done, true)
})

test('a run can be started while the FAB that it shares with the last old run is removed', async () => {
  await using core = await SuperlinkCore.start()
  await finishedRun(core)
  const { db } = core.ctx
  const transaction: typeof db.transaction = async (body) => {
    await removeOldRuns(core.ctx, { runs: 0 })
    return db.transaction(body)
  }
  const slow = { read: db.read, transaction, close: () => db.close(), [Symbol.asyncDispose]: () => db.close() }
  const { runId } = await startRun(
    { ...core.ctx, db: slow },
    {
      fab: emptyFab(),
      overrides: {},
      federation: '@none/default',
      simulation: undefined,
      owner: { id: 'me', name: 'me', organization: '' },
    },
  )
  assert.deepEqual(await runsOf(core), [runId])
  assert.equal((await rowsOf(core)).fab, 1)
})
