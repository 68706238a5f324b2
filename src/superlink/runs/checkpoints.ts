import type { MessageInitShape } from '@bufbuild/protobuf'
import { DomainError } from '../../base/errors.ts'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { findValue } from '../../db/large-values.ts'
import { ContextSchema, type Context as WireContext } from '../../gen/flwr/proto/message_pb.ts'
import type { CheckpointPiecesSchema } from '../../gen/flwr/proto/runtime_pb.ts'
import { bytesInTurns } from '../../rpc/encode-in-turns.ts'
import type { Task } from '../../tasks/task.ts'
import { findFabBytes } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { forgetRunMessages } from '../delivery/replies.ts'
import * as checkpointStore from './checkpoint-store.ts'
import { appendNote } from './logs.ts'
import { findRun, type Run } from './run.ts'
import * as runStore from './run-store.ts'

/**
 * What ServerApps save to go on from. A ServerApp whose process is lost starts again from its last checkpoint; without one
 * its run fails. A run that failed or was stopped can be started again from it.
 */

/** Throws `checkpoint-too-large`, and `token-invalid` if another process works on the task by now. */
export async function saveCheckpoint(
  ctx: Pick<SuperlinkContext, 'db' | 'clock' | 'tasks' | 'log' | 'quotas' | 'checkpointUploads'>,
  task: Task,
  context: WireContext,
): Promise<void> {
  const { db, clock, tasks, quotas, checkpointUploads } = ctx
  const bytes = await bytesInTurns(ContextSchema, context)
  const bytesMax = checkpointUploads.bounds.wholeBytesMax - (await findFabBytes(db.read, task.fabHash))
  if (bytes.length > bytesMax)
    throw new DomainError(
      'checkpoint-too-large',
      `The checkpoint has ${bytes.length} bytes, more than the ${bytesMax} that a SuperLink keeps for this app: leave out what can be computed again.`,
    )
  using _room = await quotas.takeDisk(task.runId, bytes.length)
  await using prepared = await checkpointStore.prepare(db, bytes)
  await db.transaction(async (tx) => {
    await tasks.ensureSameLaunch(tx, task)
    await checkpointStore.insert(tx, {
      runId: task.runId,
      savedAt: clock.now(),
      launch: task.launches,
      prepared,
    })
  })
  checkpointUploads.forget(task.runId, ctx)
}

/** The context that a ServerApp starts from. If it is too large for one response, its state is left out, and read in pieces. */
export async function findStart(
  { db, checkpointUploads }: Pick<SuperlinkContext, 'db' | 'checkpointUploads'>,
  { runId, seriesId, fabHash }: Run,
  { takesPieces, makeRoom }: { readonly takesPieces: boolean; readonly makeRoom: MakeRoom | undefined },
): Promise<{ context: Uint8Array | undefined; checkpointPieces: MessageInitShape<typeof CheckpointPiecesSchema> }> {
  const { wholeBytesMax, pieceBytes } = checkpointUploads.bounds
  const rules = { wholeBytesMax: BigInt(wholeBytesMax), pieceBytes }
  const saved = await checkpointStore.findContext(db.read, runId)
  if (!saved) return { context: await runStore.findContext(db.read, seriesId, makeRoom), checkpointPieces: rules }
  const { sha256, size, value } = saved
  if (size <= wholeBytesMax - (await findFabBytes(db.read, fabHash)))
    return { context: await findValue(db.read, async () => value, makeRoom), checkpointPieces: rules }
  if (!takesPieces)
    throw new DomainError(
      'checkpoint-too-large',
      `The checkpoint of run ${runId} has ${size} bytes, more than this program can receive in one response: upgrade flwr-serverapp.`,
    )
  const context = await runStore.findContext(db.read, seriesId, makeRoom)
  return { context, checkpointPieces: { ...rules, sha256, size: BigInt(size) } }
}

/**
 * Decides whether a ServerApp whose process was lost starts again: if it has saved a checkpoint, unless it was launched
 * several times without saving another. What it had asked of nodes is forgotten then, because it will ask anew.
 */
export async function prepareRestart(
  ctx: Pick<
    SuperlinkContext,
    'objects' | 'bells' | 'clock' | 'log' | 'progress' | 'passingReplies' | 'quotas' | 'checkpointUploads'
  >,
  tx: Db,
  afterCommit: AfterCommit,
  { task, reason }: { readonly task: Task; readonly reason: string },
): Promise<boolean> {
  if (task.type !== 'flwr-serverapp') return false
  const last = await checkpointStore.findLast(tx, task.runId)
  if (!last || task.launches - last.launch >= limits.taskLaunchesMax) return false
  await forgetRunMessages(ctx, tx, afterCommit, { runId: task.runId, hasEnded: false })
  const savedAt = new Date(last.savedAt).toISOString().slice(0, 19).replace('T', ' ')
  const note = `\n[The ServerApp was lost: ${reason}. It starts again from its checkpoint of ${savedAt}Z]\n`
  await appendNote(ctx, tx, afterCommit, task.runId, note)
  afterCommit(() => {
    ctx.log.warn('A ServerApp was lost and starts again from its checkpoint', { run: task.runId, because: reason })
    ctx.progress.restarted(task.runId)
    ctx.checkpointUploads.forget(task.runId, ctx)
    ctx.passingReplies.forget(task.runId)
  })
  return true
}

/** After the end of a run: one that went well needs its checkpoints no longer, and those of others are not kept for ever. */
export async function forgetCheckpoints(
  { clock }: Pick<SuperlinkContext, 'clock'>,
  tx: Db,
  { runId, subStatus }: Pick<Task, 'runId' | 'subStatus'>,
): Promise<void> {
  if (subStatus === 'completed') await checkpointStore.remove(tx, { runId })
  for (const old of await checkpointStore.listRunsBefore(tx, clock.now() - limits.checkpointKeptMs)) {
    if ((await findRun(tx, old))?.task.status === 'finished') await checkpointStore.remove(tx, { runId: old })
  }
}

/**
 * Returns a copy of the checkpoint that a new run in the place of this one starts from. Throws `run-not-resumable`, and, before
 * anything is copied, `too-many-runs` or `quota-reached`.
 */
export async function prepareResumption(
  { db, quotas }: Pick<SuperlinkContext, 'db' | 'quotas'>,
  { runId, task }: Run,
): Promise<checkpointStore.PreparedCheckpoint> {
  if (task.status !== 'finished')
    throw new DomainError(
      'run-not-resumable',
      `Run ${runId} is ${task.status}: if its ServerApp is lost, it starts again by itself.`,
    )
  if (task.subStatus === 'completed')
    throw new DomainError('run-not-resumable', `Run ${runId} is completed: there is nothing to resume.`)
  await quotas.ensureRoomForRun(db.read)
  const copy = await checkpointStore.prepareCopyOf(db, runId, (bytes) => quotas.takeDisk(runId, bytes))
  if (!copy)
    throw new DomainError(
      'run-not-resumable',
      `Run ${runId} has no checkpoint: its app saves none, or it was removed after 30 days. Start it from the beginning with flwr run.`,
    )
  return copy
}

/** The first checkpoint of a new run. */
export async function inheritCheckpoint(
  { clock }: Pick<SuperlinkContext, 'clock'>,
  tx: Db,
  runId: RunId,
  prepared: checkpointStore.PreparedCheckpoint,
): Promise<void> {
  await checkpointStore.insert(tx, { runId, savedAt: clock.now(), launch: 0, prepared })
}
