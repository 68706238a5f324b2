import { type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { deflateMessage } from '../../message/deflate.ts'
import { errorCodes, Message, type MessageError, type Metadata } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import * as life from './life.ts'
import type { StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'

/** Replies that the SuperLink makes itself, because the one of the node will not come. */

export type TakingCtx = Pick<SuperlinkContext, 'db' | 'objects' | 'clock' | 'bells' | 'log' | 'progress'>

export const messageUnavailable: MessageError = {
  code: errorCodes.messageUnavailable,
  reason:
    'Error: Message Unavailable - The requested message could not be found in the database. It may have expired or never existed.',
}

/**
 * Answers an instruction with an error, within a transaction. Returns the reply, or `undefined` if there is nothing to do:
 * the instruction was answered in the meantime, or its run has ended. A reply that was announced and did not come is
 * replaced, so that each instruction has one reply.
 *
 * @param srcNodeId in whose name the error is reported; its node by default.
 */
export async function failInstruction(
  ctx: Pick<TakingCtx, 'objects' | 'clock' | 'bells' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  instruction: StoredMessage,
  error: MessageError,
  srcNodeId: bigint = instruction.metadata.dstNodeId,
): Promise<StoredMessage | undefined> {
  const { messageId } = instruction.metadata
  const runId = instruction.metadata.runId as RunId
  if (!(await isRunOpen(tx, runId))) return undefined
  const earlier = await messageStore.listRepliesTo(tx, [messageId])
  for (const { metadata } of earlier) if (!(await messageStore.isIncomplete(tx, metadata.messageId))) return undefined
  const incomplete = earlier.map(({ metadata }) => ({ runId, messageId: metadata.messageId }))
  await withdrawReplies(ctx, tx, afterCommit, incomplete)
  const { reply, content } = createErrorReply(ctx, runId, messageId, instruction, error, srcNodeId)
  const { messageId: replyId } = reply.metadata
  await life.answer(tx, reply, ctx.clock.now())
  await ctx.objects.keep(tx, afterCommit, replyId, replyId, content)
  afterCommit(() => {
    ctx.progress.replied(runId, error)
    ctx.bells.replies.ring(runId)
    ctx.bells.runs.ring(runId)
  })
  return reply
}

/** Forgets replies that will not be completed: that is as if they had not been announced. */
export async function withdrawReplies(
  ctx: Pick<TakingCtx, 'objects' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  replies: readonly { readonly runId: RunId; readonly messageId: string }[],
): Promise<void> {
  if (replies.length === 0) return
  const ids = replies.map(({ messageId }) => messageId)
  await life.forget(ctx, tx, afterCommit, ids)
  afterCommit(() => {
    for (const { runId } of replies) ctx.progress.withdrawn(runId, 1)
  })
}

export function createErrorReply(
  ctx: Pick<TakingCtx, 'clock'>,
  runId: RunId,
  replyToMessageId: string,
  instruction: StoredMessage | undefined,
  error: MessageError,
  srcNodeId: bigint = superlinkNodeId,
): { reply: StoredMessage; content: Uint8Array } {
  const nowSeconds = ctx.clock.now() / 1000
  const asked = instruction?.metadata
  const metadata: Metadata = {
    runId,
    messageId: '',
    srcNodeId,
    dstNodeId: superlinkNodeId,
    replyToMessageId,
    groupId: asked?.groupId ?? '',
    ttl: asked ? Math.max(0, asked.createdAt + asked.ttl - nowSeconds) : 0,
    messageType: asked?.messageType ?? 'system',
    createdAt: nowSeconds,
  }
  const { messageId, tree, objects } = deflateMessage(new Message(metadata, { error }))
  return {
    reply: { metadata: { ...metadata, messageId }, error, tree, deliveredAt: undefined },
    content: (objects.get(messageId) as () => Uint8Array)(),
  }
}
