import { type RunId, superlinkNodeId } from '../../base/ids.ts'
import { errorCodes, type MessageError } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import { failInstruction, type TakingCtx } from './error-replies.ts'
import * as life from './life.ts'
import * as messageStore from './message-store.ts'
import { listWhole } from './missing-objects.ts'
import { findReplyTo } from './replies-to.ts'

/** Receivers confirm that they have everything of a message. That the caller is the receiver was checked before. */

/**
 * The node has everything, so the instruction lets go of its objects. A node that confirms what it cannot have will not
 * answer it: its reply becomes an error. Its objects stay until then, because the ServerApp may still upload them.
 * Unknown ids are ignored.
 */
export async function confirmInstruction(ctx: TakingCtx, messageId: string): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    const instruction = await messageStore.find(tx, messageId)
    if (!instruction || instruction.state === 'held') return
    // Also before a restart of the SuperLink, which offers it again.
    const wasReceived = instruction.deliveredAt !== undefined || instruction.state === 'answered'
    const [whole] = wasReceived ? await listWhole(tx, [messageId]) : []
    if (whole !== undefined) return life.hold(ctx, tx, afterCommit, instruction)
    if (await findReplyTo(tx, messageId)) return
    const { dstNodeId: node, runId: run } = instruction.metadata
    ctx.log.warn('A SuperNode confirmed an instruction that it cannot have received', { node, run })
    await failInstruction(ctx, tx, afterCommit, instruction, confirmedEarly)
  })
}

const confirmedEarly: MessageError = {
  code: errorCodes.replyMessageUnavailable,
  reason: 'Error: Reply Message Unavailable - The SuperNode confirmed the message without having received it.',
}

/**
 * The ServerApp has these messages of nodes. A reply is forgotten together with its instruction; of a message that replies to
 * nothing its row remains, so that its node cannot send it again. Unknown ids are ignored.
 */
export async function confirmReceived(
  ctx: Pick<SuperlinkContext, 'db' | 'objects' | 'passingReplies' | 'checkedReplies'>,
  runId: RunId,
  messageIds: readonly string[],
): Promise<void> {
  for (const id of messageIds) ctx.passingReplies.remove(runId, id)
  await ctx.db.transaction(async (tx, afterCommit) => {
    afterCommit(() => ctx.checkedReplies.forget(messageIds))
    const messages = await messageStore.listMetadata(tx, messageIds)
    const replies = messages.filter(({ replyToMessageId }) => replyToMessageId !== '')
    const ids = replies.flatMap(({ messageId, replyToMessageId }) => [messageId, replyToMessageId])
    if (ids.length > 0) await life.forget(ctx, tx, afterCommit, ids)
    for (const message of messages)
      if (message.replyToMessageId === '' && message.dstNodeId === superlinkNodeId)
        await life.take(ctx, tx, afterCommit, message)
  })
}
