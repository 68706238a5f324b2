import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { deflateMessage } from '../../message/deflate.ts'
import { errorCodes, Message, type MessageError, type Metadata } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import * as life from './life.ts'
import type { NewMessage, SentMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'
import { listReplyIds } from './replies-to.ts'

/** Replies that the SuperLink makes itself, because the one of the node will not come. */

export type TakingCtx = Pick<SuperlinkContext, 'db' | 'objects' | 'clock' | 'bells' | 'log' | 'progress'>

export const messageUnavailable: MessageError = {
  code: errorCodes.messageUnavailable,
  reason:
    'Error: Message Unavailable - The requested message could not be found in the database. It may have expired or never existed.',
}

/** Why an instruction will get no reply of its node. */
export interface Failure {
  readonly instruction: SentMessage
  readonly error: MessageError
  /** In whose name the error is reported; its node by default. */
  readonly srcNodeId?: bigint
}

/**
 * Replies to instructions with errors, within a transaction. Returns the replies. There is none to an instruction that was
 * answered or forgotten in the meantime, or whose run has ended. A reply that was announced and did not come is replaced, so
 * that each instruction has one reply.
 */
export async function failInstructions(
  ctx: Pick<TakingCtx, 'objects' | 'clock' | 'bells' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  failures: readonly Failure[],
): Promise<NewMessage[]> {
  const open = await openInstructions(
    tx,
    failures.map(({ instruction }) => instruction),
  )
  const failed = failures.filter(({ instruction }) => open.ids.has(life.idOf(instruction)))
  if (failed.length === 0) return []
  await withdraw(ctx, tx, afterCommit, open.announced)
  const replies = failed.map(({ instruction, error, srcNodeId = instruction.metadata.dstNodeId }) => {
    const { messageId, runId } = instruction.metadata
    return createErrorReply(ctx, runId as RunId, messageId, instruction, error, srcNodeId)
  })
  await life.sendWhole(ctx, tx, afterCommit, replies)
  afterCommit(() => {
    for (const failure of failed) noteFailure(ctx, failure)
  })
  return replies.map(({ message }) => message)
}

/** The same for one instruction, in the name of its node. */
export async function failInstruction(
  ctx: Pick<TakingCtx, 'objects' | 'clock' | 'bells' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  instruction: SentMessage,
  error: MessageError,
): Promise<NewMessage | undefined> {
  const [reply] = await failInstructions(ctx, tx, afterCommit, [{ instruction, error }])
  return reply
}

/** The ids of those that still wait for a reply, and the replies to them that were announced. */
async function openInstructions(
  tx: Db,
  instructions: readonly SentMessage[],
): Promise<{ ids: ReadonlySet<string>; announced: readonly SentMessage[] }> {
  const openRuns = new Set<bigint>()
  for (const runId of new Set(instructions.map(({ metadata }) => metadata.runId)))
    if (await isRunOpen(tx, runId as RunId)) openRuns.add(runId)
  const stored = await messageStore.listSent(tx, instructions.map(life.idOf))
  const waiting = stored.filter(({ metadata }) => openRuns.has(metadata.runId)).map(life.idOf)
  const replies = await messageStore.listSent(tx, [...(await listReplyIds(tx, waiting)).values()])
  const announced = replies.filter(({ state }) => state === 'announced')
  const answered = new Set(
    replies.filter(({ state }) => state !== 'announced').map(({ metadata }) => metadata.replyToMessageId),
  )
  return { ids: new Set(waiting.filter((id) => !answered.has(id))), announced }
}

function noteFailure(
  ctx: Pick<TakingCtx, 'clock' | 'bells' | 'progress'>,
  { instruction: { deliveredAt: fetchedAt, metadata }, error }: Failure,
): void {
  const { messageId, messageType } = metadata
  const runId = metadata.runId as RunId
  const nodeId = metadata.dstNodeId as NodeId
  const times = { askedAt: metadata.createdAt * 1000, fetchedAt, repliedAt: ctx.clock.now() }
  ctx.progress.failedInPlaceOf(runId, error, { nodeId, messageId, messageType, ...times })
  ctx.bells.runs.ring(runId)
}

/** Forgets messages of nodes that will not come whole: that is as if they had not been announced. */
export async function withdraw(
  ctx: Pick<TakingCtx, 'objects' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  messages: readonly SentMessage[],
): Promise<void> {
  if (messages.length === 0) return
  const idsOf = (some: readonly SentMessage[]) => some.map(life.idOf)
  const replies = messages.filter(isReply)
  const asked = await messageStore.findSent(
    tx,
    replies.map(({ metadata }) => metadata.replyToMessageId),
  )
  await life.forget(ctx, tx, afterCommit, idsOf(replies))
  for (const message of messages.filter((one) => !isReply(one)))
    await life.forgetUnprompted(ctx, tx, afterCommit, message.metadata, idsOf([message]))
  afterCommit(() => {
    for (const { metadata, error } of replies) {
      // A node may reply with another type of message than it was sent, which is the one that was counted.
      const { messageType } = asked.get(metadata.replyToMessageId)?.metadata ?? metadata
      ctx.progress.withdrawn(metadata.runId as RunId, error, { messageId: metadata.replyToMessageId, messageType })
    }
  })
}

const isReply = ({ metadata }: SentMessage): boolean => metadata.replyToMessageId !== ''

export function createErrorReply(
  ctx: Pick<TakingCtx, 'clock'>,
  runId: RunId,
  replyToMessageId: string,
  instruction: SentMessage | undefined,
  error: MessageError,
  srcNodeId: bigint = superlinkNodeId,
): life.OwnMessage {
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
    message: { metadata: { ...metadata, messageId }, error, tree },
    content: (objects.get(messageId) as () => Uint8Array)(),
  }
}
