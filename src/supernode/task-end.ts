import { errorText } from '../base/errors.ts'
import type { AfterCommit, Db } from '../db/database.ts'
import { lostReplyReason, wholeReplyOf } from '../execution/execution.ts'
import { errorCodes } from '../message/message.ts'
import type { Task } from '../tasks/task.ts'
import type { SupernodeContext } from './context.ts'
import { startNext } from './receive.ts'
import { answerWithError, dropWork, sendReply } from './reply.ts'
import type { Work } from './work.ts'

/**
 * However the execution of an instruction ends, a reply goes out: the app's if reply and state have arrived whole, else an
 * error that says what happened. The next instruction of the run starts at once. The task itself is forgotten.
 */
export async function onTaskFinished(
  ctx: SupernodeContext,
  tx: Db,
  afterCommit: AfterCommit,
  task: Task,
): Promise<void> {
  await ctx.tasks.forget(tx, task.taskId)
  const work = ctx.work.ofTask(task.taskId)
  if (!work) return
  afterCommit(() => {
    if (!ctx.work.end(work)) return
    void answer(ctx, work, task).catch((error: unknown) => {
      if (ctx.signal.aborted) return
      ctx.log.error('An instruction could not be answered', { run: work.runId, error: errorText(error) })
    })
    void startNext(ctx, work.runId).catch((error: unknown) => {
      if (ctx.signal.aborted) return
      // The loop that receives instructions meets the same error, and joins again or ends the program.
      ctx.log.warn('The next instruction of a run could not be started', { run: work.runId, error: errorText(error) })
    })
  })
}

async function answer(ctx: SupernodeContext, work: Work, task: Task): Promise<void> {
  if (task.subStatus === 'stopped') return dropWork(ctx, work, 'its task was stopped')
  if (wholeReplyOf(work)) return sendReply(ctx, work)
  return answerWithError(ctx, work, { code: errorCodes.clientAppCrashed, reason: lostReplyReason(task) })
}
