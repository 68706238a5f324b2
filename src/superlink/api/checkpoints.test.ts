import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CoreRun, nothing, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { ConfigRecord, RecordDict } from '../../message/records.ts'
import { contextFromWire, contextToWire } from '../../message/wire.ts'
import type { Task } from '../../tasks/task.ts'
import { takeRoomForObject } from '../delivery/unprompted.ts'
import { defaultQuotas } from '../quotas/config-quotas.ts'
import { Quotas } from '../quotas/quotas.ts'
import { prepareResumption, saveCheckpoint } from '../runs/checkpoints.ts'
import { resumeRun } from '../runs/resume.ts'
import { findRun, type Run } from '../runs/run.ts'
import { createSuperlinkBackend } from './runtime-backend.ts'

const owner = { id: 'me', name: 'me', organization: '' }

async function runOf({ ctx }: SuperlinkCore, { runId }: Pick<CoreRun, 'runId'>): Promise<Run> {
  return (await findRun(ctx.db.read, runId)) ?? assert.fail('no run')
}

async function taskOf(core: SuperlinkCore, run: CoreRun): Promise<Task> {
  return (await runOf(core, run)).task
}

/** The ServerApp has finished this round. */
async function save(core: SuperlinkCore, run: CoreRun, round: number, pad = ''): Promise<void> {
  const state = new RecordDict({ progress: new ConfigRecord({ round, pad }) })
  const about = { runId: run.runId, nodeId: superlinkNodeId, seriesId: 1n, nodeConfig: {}, runConfig: {} }
  await saveCheckpoint(core.ctx, await taskOf(core, run), contextToWire({ ...about, state }))
}

/** The round that a ServerApp would go on after, if it were started now. */
async function savedRound(core: SuperlinkCore, run: Pick<CoreRun, 'runId'>): Promise<number | undefined> {
  const { context } = await createSuperlinkBackend(core.ctx).taskInput((await runOf(core, run)).task)
  const { state } = contextFromWire(context as Parameters<typeof contextFromWire>[0])
  return state.has('progress') ? Number(state.config('progress').get('round')) : undefined
}

async function lose(core: SuperlinkCore, run: CoreRun): Promise<void> {
  const { db, tasks } = core.ctx
  await db.transaction((tx, afterCommit) => tasks.lose(tx, afterCommit, run.taskId, 'ended by SIGKILL'))
}

async function launch(core: SuperlinkCore, run: CoreRun): Promise<CoreRun> {
  const acquired = await core.ctx.tasks.acquireOfRun('flwr-serverapp', run.runId)
  assert.ok(acquired)
  await core.ctx.tasks.activate(run.taskId)
  return { ...run, token: acquired.token }
}

test('a ServerApp whose process is lost starts again from its last checkpoint, and asks its nodes anew', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const run = await core.run()
  assert.equal(await savedRound(core, run), undefined)
  await save(core, run, 1)
  await save(core, run, 2)
  await core.push(run.runId, [core.instruction(run.runId, nodeId)])
  const { status } = await taskOf(core, run)
  assert.equal(status, 'running')

  await lose(core, run)
  assert.equal((await taskOf(core, run)).status, 'pending')
  assert.equal(await core.ctx.tasks.findByToken(run.token), undefined, 'the old process is refused')
  assert.deepEqual(await core.leftovers(), nothing)
  const again = await launch(core, run)
  assert.equal(await savedRound(core, again), 2)
  await core.push(run.runId, [core.instruction(run.runId, nodeId)])
  assert.match(
    (await core.ctx.db.read.selectFrom('run_log').select('text').execute())[0]?.text ?? '',
    /was lost: ended/,
  )
})

test('a node that works for a run whose ServerApp starts again learns of its end, and may not send more unasked than before', async () => {
  await using core = await SuperlinkCore.start()
  const { db, tasks } = core.ctx
  const nodeId = await core.join('node')
  const run = await core.run()
  await save(core, run, 1)
  await core.push(run.runId, [core.instruction(run.runId, nodeId)])
  await core.claim(nodeId)
  const announce = async () => {
    const note = core.unprompted(run.runId, nodeId)
    await core.sendUnprompted(note, { upload: false })
    return { nodeId, runId: run.runId, objectId: note.messageId }
  }
  const take = async (bytes: number) => {
    const part = await announce()
    return db.transaction((tx) => takeRoomForObject(tx, part, bytes))
  }
  await take(limits.unpromptedBytesMax)
  const position = tasks.endedRuns.position(0n)

  await lose(core, run)
  await launch(core, run)
  await take(limits.unpromptedBytesMax)
  await assert.rejects(take(1), { code: 'too-many-messages' })
  await core.stop(run.runId)
  assert.deepEqual(tasks.endedRuns.news(position, nodeId).endedRunIds, [run.runId])
})

test('a ServerApp that was launched several times without a new checkpoint has failed, and one without any at once', async () => {
  await using core = await SuperlinkCore.start()
  const without = await core.run()
  await lose(core, without)
  assert.equal((await taskOf(core, without)).status, 'finished')

  const run = await core.run()
  await save(core, run, 1)
  for (let launches = 1; launches < limits.taskLaunchesMax; launches++) {
    await lose(core, run)
    await launch(core, run)
  }
  await save(core, run, 2)
  for (let launches = 0; launches < limits.taskLaunchesMax; launches++) {
    await lose(core, run)
    assert.equal((await taskOf(core, run)).status, 'pending')
    await launch(core, run)
  }
  await lose(core, run)
  const { status, subStatus, details } = await taskOf(core, run)
  assert.deepEqual([status, subStatus, details], ['finished', 'failed', 'ended by SIGKILL'])
})

test('the last two checkpoints are kept, and a damaged one is passed over', async () => {
  await using core = await SuperlinkCore.start()
  const { db } = core.ctx
  const run = await core.run()
  for (const round of [1, 2, 3]) await save(core, run, round, 'x'.repeat(600_000))
  const kept = await db.read.selectFrom('checkpoint').select('position').orderBy('position').execute()
  assert.deepEqual(
    kept.map(({ position }) => position),
    [2, 3],
  )
  const parts = await db.read.selectFrom('part').select('name').distinct().execute()
  assert.equal(parts.length, 2, 'the parts of the others are gone')
  assert.equal(await savedRound(core, run), 3)
  await db.transaction(async (tx) => {
    const { parts } = await tx
      .selectFrom('checkpoint')
      .select('parts')
      .where('position', '=', 3)
      .executeTakeFirstOrThrow()
    const part = tx.updateTable('part').set({ content: Buffer.alloc(512 * 1024) })
    await part
      .where('name', '=', parts ?? '')
      .where('position', '=', 0)
      .execute()
  })
  assert.equal(await savedRound(core, run), 2)
  for (const round of [4, 5]) await save(core, run, round, 'x'.repeat(600_000))
  const last = db.read.selectFrom('checkpoint').select('parts').where('position', '=', 5)
  await db.transaction((tx) => tx.deleteFrom('part').where('position', '=', 1).where('name', 'in', last).execute())
  assert.equal(await savedRound(core, run), 4)
})

test('a failed run is resumed as a new run; others say why they cannot be', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const run = await core.run()
  await assert.rejects(prepareResumption(ctx, await runOf(core, run)), { code: 'run-not-resumable' })
  await save(core, run, 7)
  await core.stop(run.runId)
  const { runId } = await resumeRun(ctx, await runOf(core, run), owner)
  assert.notEqual(runId, run.runId)
  assert.equal(await savedRound(core, { runId }), 7)

  const bare = await core.run()
  await core.stop(bare.runId)
  await assert.rejects(resumeRun(ctx, await runOf(core, bare), owner), { detail: /has no checkpoint/ })

  const good = await core.run()
  await save(core, good, 1)
  await ctx.db.transaction((tx, afterCommit) => ctx.tasks.finish(tx, afterCommit, good.taskId, 'completed', ''))
  await assert.rejects(resumeRun(ctx, await runOf(core, good), owner), { detail: /is completed/ })
  const left = await ctx.db.read.selectFrom('checkpoint').select('run_id').where('run_id', '=', good.runId).execute()
  assert.deepEqual(left, [], 'a run that went well needs none')

  core.clock.advance(limits.checkpointKeptMs + 1)
  await core.stop((await core.run()).runId)
  await settled(5)
  assert.deepEqual(
    (await ctx.db.read.selectFrom('checkpoint').select('run_id').execute()).map((row) => row.run_id),
    [runId],
    'only the run that is not finished keeps an old one',
  )
})

test('a run that is resumed beyond a quota is refused before its checkpoint is copied', async () => {
  await using core = await SuperlinkCore.start()
  const run = await core.run()
  await save(core, run, 7, 'x'.repeat(600_000))
  await core.stop(run.runId)
  const { db, clock } = core.ctx
  const transaction = () => assert.fail('something is written')
  const unwritable = { ...{ read: db.read, transaction }, close: async () => {}, [Symbol.asyncDispose]: async () => {} }
  for (const [quota, code] of [
    [{ disk: 1_000 }, 'quota-reached'],
    [{ runs: 0 }, 'too-many-runs'],
  ] as const) {
    const quotas = new Quotas({ db, clock, limits: { ...defaultQuotas, ...quota } })
    const resumed = resumeRun({ ...core.ctx, db: unwritable, quotas }, await runOf(core, run), owner)
    await assert.rejects(resumed, { code })
  }
})

test('a checkpoint that is too large is refused with its size and the limit', async () => {
  await using core = await SuperlinkCore.start()
  const run = await core.run()
  await assert.rejects(save(core, run, 1, 'x'.repeat(limits.checkpointWholeBytesMax)), {
    code: 'checkpoint-too-large',
    detail: /^The checkpoint has 66\d+ bytes, more than the 66\d+ that a SuperLink keeps for this app/,
  })
  assert.equal(await savedRound(core, run), undefined)
})
