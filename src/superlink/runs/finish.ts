import { DomainError } from '../../base/errors.ts'
import type { RunId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import type { Task } from '../../tasks/task.ts'
import type { SuperlinkContext } from '../context.ts'
import { listParticipants } from '../delivery/participant-store.ts'
import { forgetRunMessages } from '../delivery/replies.ts'
import { forgetCheckpoints } from './checkpoints.ts'
import { findRun } from './run.ts'

/** The end of a run is the end of its primary task: other tasks end, messages and objects go, followers hear of it. */
export async function onTaskFinished(
  ctx: Pick<
    SuperlinkContext,
    | 'objects'
    | 'bells'
    | 'log'
    | 'clock'
    | 'tasks'
    | 'progress'
    | 'participants'
    | 'passingReplies'
    | 'checkpointUploads'
    | 'checkedReplies'
    | 'simulation'
    | 'events'
    | 'quotas'
  >,
  tx: Db,
  afterCommit: AfterCommit,
  task: Task,
): Promise<void> {
  const fleet = ctx.simulation?.fleet
  afterCommit(() => void ctx.objects.left.remove(task.taskId).catch(() => {}))
  if (task.type === 'flwr-clientapp') return fleet?.onTaskFinished(tx, afterCommit, task)
  await ctx.tasks.finishOthers(tx, afterCommit, task.runId, task.taskId)
  const nodes = await listParticipants(tx, task.runId)
  await forgetRunMessages(ctx, tx, afterCommit, { runId: task.runId, hasEnded: true })
  await fleet?.endRun(tx, afterCommit, task.runId)
  await forgetCheckpoints(ctx, tx, task)
  await recordEnd(ctx, tx, afterCommit, task)
  afterCommit(() => {
    ctx.log.info('Run finished', {
      run: task.runId,
      status: task.subStatus,
      ...(task.details === '' ? {} : { details: task.details }),
    })
    ctx.progress.finished(task.runId, task.subStatus)
    ctx.participants.forget(task.runId)
    ctx.quotas.forgetRun(task.runId)
    ctx.checkpointUploads.forget(task.runId, ctx)
    ctx.passingReplies.forget(task.runId)
    ctx.checkedReplies.forgetRun(task.runId)
    ctx.tasks.endRun(task.runId, nodes)
    for (const nodeId of nodes) ctx.bells.instructions.ring(nodeId)
    ctx.bells.runs.ring(task.runId)
    ctx.bells.replies.ended(task.runId)
    ctx.bells.nodes.ring(task.runId)
  })
}

async function recordEnd(
  { events }: Pick<SuperlinkContext, 'events'>,
  tx: Db,
  afterCommit: AfterCommit,
  { runId, subStatus, details }: Task,
): Promise<void> {
  const run = await findRun(tx, runId)
  const result = subStatus || 'stopped'
  const verb = { completed: 'has completed', failed: 'has failed', stopped: 'was stopped' }[result]
  const data = {
    sentence: `Run ${runId} ${verb}${details === '' ? '.' : `: ${details}`}`,
    run: String(runId),
    result,
    ...(details === '' ? {} : { details }),
  }
  const owner = run && { aid: run.ownerAid, organization: run.ownerOrganization }
  await events.record(tx, afterCommit, 'run.finished', data, owner)
}

/** Stops a run that has not finished. Throws `run-not-found` or `run-finished`. */
export async function stopRun(ctx: Pick<SuperlinkContext, 'db' | 'tasks'>, runId: RunId): Promise<boolean> {
  return ctx.db.transaction(async (tx, afterCommit) => {
    const run = await findRun(tx, runId)
    if (!run) throw new DomainError('run-not-found')
    if (run.task.status === 'finished') throw new DomainError('run-finished', `Run ID ${runId} is already finished`)
    return ctx.tasks.finish(tx, afterCommit, run.task.taskId, 'stopped', '')
  })
}
