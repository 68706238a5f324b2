import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { errorCodes, type Metadata } from '../../message/message.ts'
import { type CarriedObjects, nothingCarried } from '../../objects/carried-objects.ts'
import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import { failInstruction, type TakingCtx, withdraw } from './error-replies.ts'
import * as life from './life.ts'
import * as messageStore from './message-store.ts'
import { expiresAt, type NewMessage, type StoredMessage } from './message-store.ts'
import * as nodeMessages from './node-messages.ts'
import { findFault } from './validate.ts'

/**
 * Replies on their way from nodes to the ServerApp. What will never come becomes an error reply, so that the ServerApp
 * does not wait for it; a reply stays until it is confirmed, so that a broken connection loses none.
 */

/** How much later than the instruction a reply may expire, in seconds: clocks round differently. */
const ttlToleranceSeconds = 0.1

/** What became of a message that a node has sent. */
export interface Acceptance {
  readonly accepted: boolean
  readonly objectsToPush: string[]
}

/**
 * Takes a node's reply, with the objects that came along. `accepted` is false, and nothing is stored, if no ServerApp waits
 * for it (any more). The same reply again is accepted again; a second, different reply to one instruction is not. A reply
 * that is whole with these objects confirms its instruction.
 */
export async function acceptReply(
  ctx: TakingCtx & Pick<SuperlinkContext, 'checkedReplies'>,
  nodeId: NodeId,
  reply: NewMessage,
  carried: CarriedObjects = nothingCarried,
): Promise<Acceptance> {
  const { isNew, ...taken } = await ctx.db.transaction(async (tx, afterCommit) => {
    const outcome = await takeReply(ctx, tx, afterCommit, nodeId, reply, carried)
    const isWhole = outcome.accepted && outcome.objectsToPush.length === 0
    if (isWhole && carried.size > 0) await life.letGo(ctx, tx, afterCommit, reply.metadata.replyToMessageId)
    return { ...outcome, isNew: outcome.isNew && isWhole }
  })
  // Its objects are in memory now. Otherwise they would be read again before it is handed out.
  if (isNew && carried.size > 0) await ctx.checkedReplies.noteCarried(reply, carried)
  return taken
}

/** As `acceptReply`, within a transaction. */
export async function takeReply(
  ctx: TakingCtx,
  tx: Db,
  afterCommit: AfterCommit,
  nodeId: NodeId,
  reply: NewMessage,
  carried?: CarriedObjects,
): Promise<Acceptance & { isNew: boolean }> {
  const judged = await judgeReply(ctx, tx, nodeId, reply)
  if ('fault' in judged) return { ...refuseReply(ctx, nodeId, reply.metadata, judged.fault), isNew: false }
  const { isNew, objectsToPush } = await life.send(ctx, tx, afterCommit, reply, carried)
  const runId = reply.metadata.runId as RunId
  afterCommit(() => {
    const { deliveredAt: fetchedAt, metadata } = judged.instruction
    const askedAt = metadata.createdAt * 1000
    const answered = { nodeId, messageId: metadata.messageId, askedAt, fetchedAt, repliedAt: ctx.clock.now() }
    if (isNew) ctx.progress.nodeReplied(runId, reply.error, answered)
    if (objectsToPush.length > 0) ctx.bells.incomplete.ring('incomplete')
    ctx.bells.runs.ring(runId)
  })
  return { accepted: true, objectsToPush, isNew }
}

/** Takes nothing of a reply. Of a reply to the instruction of another node no more is said than of one to none. */
export function refuseReply(
  ctx: Pick<TakingCtx, 'log'>,
  nodeId: NodeId,
  { runId }: Pick<Metadata, 'runId'>,
  reason = instructionUnknown,
): { accepted: false; objectsToPush: string[] } {
  ctx.log.warn('A reply was refused', { node: nodeId, run: runId, reason })
  return { accepted: false, objectsToPush: [] }
}

const instructionUnknown = 'its instruction is unknown or has expired'

/** Returns the instruction that the reply is for, or why the reply is refused. */
async function judgeReply(
  ctx: Pick<TakingCtx, 'clock'>,
  tx: Db,
  nodeId: NodeId,
  reply: NewMessage,
): Promise<{ readonly instruction: StoredMessage } | { readonly fault: string }> {
  const { metadata } = reply
  const no = (fault: string) => ({ fault })
  if (!(await isRunOpen(tx, metadata.runId as RunId))) return no('its run has ended')
  const fault = findFault('reply', metadata, reply.tree, ctx.clock.now())
  if (fault) return no(fault)
  const instruction = await messageStore.find(tx, metadata.replyToMessageId)
  if (!instruction || expiresAt(instruction) <= ctx.clock.now()) return no(instructionUnknown)
  if (instruction.metadata.dstNodeId !== nodeId || metadata.srcNodeId !== nodeId)
    return no('its instruction was for another node')
  if (instruction.metadata.runId !== metadata.runId) return no('its instruction is of another run')
  const restSeconds = instruction.metadata.createdAt + instruction.metadata.ttl - metadata.createdAt
  if (metadata.ttl > restSeconds + ttlToleranceSeconds) return no('it would outlive its instruction')
  const earlier = await messageStore.findReplyTo(tx, metadata.replyToMessageId)
  if (earlier && earlier.metadata.messageId !== metadata.messageId) return no('there is another reply already')
  const stored = await messageStore.find(tx, metadata.messageId)
  if (stored && !messageStore.isSameMessage(stored.metadata, metadata)) return no('its id belongs to another message')
  return { instruction }
}

/**
 * A node that starts anew, or has gone silent, will not send the rest of what it announced: that is as if it had not
 * answered.
 */
export async function forgetIncomplete(
  ctx: Pick<TakingCtx, 'objects' | 'log' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  nodeId: NodeId,
): Promise<void> {
  const announced = await nodeMessages.listAnnouncedBy(tx, nodeId)
  if (announced.length === 0) return
  await withdraw(ctx, tx, afterCommit, announced)
  ctx.log.warn('Messages that a SuperNode announced and did not send are forgotten', {
    node: nodeId,
    count: announced.length,
  })
}

/**
 * A SuperNode that starts anew will not answer what it confirmed in its former life: the ServerApp gets errors instead.
 * (What it did not confirm is delivered again.)
 */
export async function failConfirmed(ctx: TakingCtx, tx: Db, afterCommit: AfterCommit, nodeId: NodeId): Promise<void> {
  const reason = 'Error: Node Unavailable — The SuperNode was restarted before it answered this message.'
  for (const instruction of await nodeMessages.listHeld(tx, nodeId)) {
    const error = { code: errorCodes.nodeUnavailable, reason }
    await failInstruction(ctx, tx, afterCommit, instruction, error, superlinkNodeId)
  }
}

/** Forgets all messages and objects of a run that has ended. */
export async function forgetRunMessages(
  ctx: Pick<SuperlinkContext, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  runId: RunId,
): Promise<void> {
  await life.forgetRun(ctx, tx, afterCommit, runId)
}
