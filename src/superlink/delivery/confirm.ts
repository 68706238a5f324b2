import type { RunId } from '../../base/ids.ts'
import { errorCodes, type MessageError } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import { failInstruction, type TakingCtx } from './error-replies.ts'
import * as life from './life.ts'
import * as messageStore from './message-store.ts'

/** The end of a message: its receiver says that it has everything. That it is the receiver was checked before. */

/**
 * The node has everything, so the instruction lets go of its objects. A node that confirms what it cannot have will not
 * answer it: its reply becomes an error. Its objects stay until then, because the ServerApp may still upload them.
 * Unknown ids are ignored.
 */
export async function confirmInstruction(ctx: TakingCtx, messageId: string): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    const instruction = await messageStore.find(tx, messageId)
    if (!instruction) return
    const fetched = instruction.deliveredAt !== undefined
    if (fetched && !(await messageStore.isIncomplete(tx, messageId))) return life.hold(ctx, tx, afterCommit, messageId)
    if ((await messageStore.listRepliesTo(tx, [messageId])).length > 0) return
    const { dstNodeId: node, runId: run } = instruction.metadata
    ctx.log.warn('A SuperNode confirmed an instruction that it cannot have received', { node, run })
    await failInstruction(ctx, tx, afterCommit, instruction, confirmedEarly)
  })
}

const confirmedEarly: MessageError = {
  code: errorCodes.replyMessageUnavailable,
  reason: 'Error: Reply Message Unavailable - The SuperNode confirmed the message without having received it.',
}

/** The ServerApp has the reply: it is forgotten together with its instruction. Unknown ids are ignored. */
export async function confirmReply(
  ctx: Pick<SuperlinkContext, 'db' | 'objects' | 'passingReplies'>,
  runId: RunId,
  messageId: string,
): Promise<void> {
  ctx.passingReplies.remove(runId, messageId)
  await ctx.db.transaction(async (tx, afterCommit) => {
    const reply = await messageStore.find(tx, messageId)
    if (!reply || reply.metadata.replyToMessageId === '') return
    await life.forget(ctx, tx, afterCommit, [messageId, reply.metadata.replyToMessageId])
  })
}
