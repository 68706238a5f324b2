import { type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { deflateMessage } from '../../message/deflate.ts'
import { errorCodes, Message, type MessageError, type Metadata } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import type { StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'

/** Replies that the SuperLink makes itself, because the one of the node will not come. */

export type TakingCtx = Pick<SuperlinkContext, 'db' | 'objects' | 'clock' | 'bells' | 'log' | 'progress'>

export const messageUnavailable: MessageError = {
  code: errorCodes.messageUnavailable,
  reason:
    'Error: Message Unavailable - The requested message could not be found in the database. It may have expired or never existed.',
}

/** Answers an instruction with an error in the name of its node, within a transaction. */
export async function answerWithError(
  ctx: TakingCtx,
  tx: Db,
  afterCommit: AfterCommit,
  instruction: StoredMessage,
  error: MessageError,
): Promise<void> {
  const { runId, messageId } = instruction.metadata
  const nodeId = instruction.metadata.dstNodeId
  const { reply, content } = createErrorReply(ctx, runId as RunId, messageId, instruction, error, nodeId)
  await insertErrorReply(ctx, tx, afterCommit, reply)
  afterCommit(() => {
    // Whoever asks for the object before it is here waits for it.
    void ctx.objects.put(reply.metadata.messageId, content).catch(() => {})
    ctx.bells.replies.ring(runId as RunId)
  })
}

export async function storeErrorReply(
  ctx: TakingCtx,
  runId: RunId,
  replyToMessageId: string,
  instruction: StoredMessage | undefined,
  error: MessageError,
): Promise<StoredMessage> {
  const { reply, content } = createErrorReply(ctx, runId, replyToMessageId, instruction, error)
  await ctx.db.transaction((tx, afterCommit) => insertErrorReply(ctx, tx, afterCommit, reply))
  await ctx.objects.put(reply.metadata.messageId, content)
  return reply
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

async function insertErrorReply(
  ctx: Pick<TakingCtx, 'objects' | 'progress' | 'bells'>,
  tx: Db,
  afterCommit: AfterCommit,
  reply: StoredMessage,
): Promise<void> {
  const { messageId } = reply.metadata
  const runId = reply.metadata.runId as RunId
  await messageStore.insert(tx, reply)
  await ctx.objects.announce(tx, messageId, [messageId])
  afterCommit(() => {
    ctx.progress.replied(runId, true)
    ctx.bells.runs.ring(runId)
  })
}
