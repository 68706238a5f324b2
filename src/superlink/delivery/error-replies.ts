import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { deflateMessage } from '../../message/deflate.ts'
import { errorCodes, Message, type MessageError, type Metadata } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import * as life from './life.ts'
import type { NewMessage, SentMessage, StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'
import { findReplyTo } from './replies-to.ts'

/** Replies that the SuperLink makes itself, because the one of the node will not come. */

export type TakingCtx = Pick<SuperlinkContext, 'db' | 'objects' | 'clock' | 'bells' | 'log' | 'progress'>

export const messageUnavailable: MessageError = {
  code: errorCodes.messageUnavailable,
  reason:
    'Error: Message Unavailable - The requested message could not be found in the database. It may have expired or never existed.',
}

/**
 * Replies to an instruction with an error, within a transaction. Returns the reply, or `undefined` if there is nothing to do:
 * the instruction was answered or forgotten in the meantime, or its run has ended. A reply that was announced and did not
 * come is replaced, so that each instruction has one reply.
 *
 * @param srcNodeId in whose name the error is reported; its node by default.
 */
export async function failInstruction(
  ctx: Pick<TakingCtx, 'objects' | 'clock' | 'bells' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  instruction: SentMessage,
  error: MessageError,
  srcNodeId: bigint = instruction.metadata.dstNodeId,
): Promise<NewMessage | undefined> {
  const { messageId } = instruction.metadata
  const runId = instruction.metadata.runId as RunId
  if (!(await isRunOpen(tx, runId)) || !(await messageStore.find(tx, messageId))) return undefined
  const earlier = await findReplyTo(tx, messageId)
  if (earlier && earlier.state !== 'announced') return undefined
  if (earlier) await withdraw(ctx, tx, afterCommit, [earlier])
  const { reply, content } = createErrorReply(ctx, runId, messageId, instruction, error, srcNodeId)
  await life.sendWhole(ctx, tx, afterCommit, reply, content)
  afterCommit(() => {
    const { deliveredAt: fetchedAt, metadata } = instruction
    const nodeId = metadata.dstNodeId as NodeId
    const askedAt = metadata.createdAt * 1000
    const times = { askedAt, fetchedAt, repliedAt: ctx.clock.now() }
    ctx.progress.failedInPlaceOf(runId, error, { nodeId, messageId, messageType: metadata.messageType, ...times })
    ctx.bells.runs.ring(runId)
  })
  return reply
}

/** Forgets messages of nodes that will not come whole: that is as if they had not been announced. */
export async function withdraw(
  ctx: Pick<TakingCtx, 'objects' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  messages: readonly StoredMessage[],
): Promise<void> {
  if (messages.length === 0) return
  const idsOf = (some: readonly StoredMessage[]) => some.map(({ metadata }) => metadata.messageId)
  await life.forget(ctx, tx, afterCommit, idsOf(messages.filter(isReply)))
  for (const message of messages.filter((one) => !isReply(one)))
    await life.forgetUnprompted(ctx, tx, afterCommit, message.metadata, idsOf([message]))
  afterCommit(() => {
    for (const { metadata } of messages.filter(isReply))
      ctx.progress.withdrawn(metadata.runId as RunId, metadata.replyToMessageId)
  })
}

const isReply = ({ metadata }: StoredMessage): boolean => metadata.replyToMessageId !== ''

export function createErrorReply(
  ctx: Pick<TakingCtx, 'clock'>,
  runId: RunId,
  replyToMessageId: string,
  instruction: SentMessage | undefined,
  error: MessageError,
  srcNodeId: bigint = superlinkNodeId,
): { reply: NewMessage; content: Uint8Array } {
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
    reply: { metadata: { ...metadata, messageId }, error, tree },
    content: (objects.get(messageId) as () => Uint8Array)(),
  }
}
