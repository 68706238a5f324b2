import { lookAgain } from '../../base/bell.ts'
import { DomainError } from '../../base/errors.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { takeTurns } from '../../base/turns.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { errorCodes, type MessageError, type Metadata } from '../../message/message.ts'
import { flattenTree } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import { replaceReply } from './broken-replies.ts'
import {
  createErrorReply,
  failInstruction,
  messageUnavailable,
  type TakingCtx,
  withdrawReplies,
} from './error-replies.ts'
import * as life from './life.ts'
import * as messageStore from './message-store.ts'
import { expiresAt, type StoredMessage } from './message-store.ts'
import { listIdsOfRun } from './run-messages.ts'
import { findFault } from './validate.ts'

/**
 * Replies on their way from nodes to the ServerApp. What will never come becomes an error reply, so that the ServerApp
 * hears of it; a reply stays until it is confirmed, so that a broken connection loses none.
 */

type Ctx = TakingCtx & Pick<SuperlinkContext, 'runNodes'>
type CollectingCtx = Ctx & Pick<SuperlinkContext, 'passingReplies' | 'checkedReplies'>

/** How much later than the instruction a reply may expire, in seconds: clocks round differently. */
const ttlToleranceSeconds = 0.1

/**
 * Takes a node's reply. `accepted` is false, and nothing is stored, if no ServerApp waits for it (any more). The same reply
 * again is accepted again; a second, different reply to one instruction is not.
 */
export function acceptReply(
  ctx: TakingCtx,
  nodeId: NodeId,
  reply: Omit<StoredMessage, 'deliveredAt'>,
): Promise<{ accepted: boolean; objectsToPush: string[] }> {
  return ctx.db.transaction((tx, afterCommit) => takeReply(ctx, tx, afterCommit, nodeId, reply))
}

/** As `acceptReply`, within a transaction. */
export async function takeReply(
  ctx: TakingCtx,
  tx: Db,
  afterCommit: AfterCommit,
  nodeId: NodeId,
  reply: Omit<StoredMessage, 'deliveredAt'>,
): Promise<{ accepted: boolean; objectsToPush: string[] }> {
  const fault = await findReplyFault(ctx, tx, nodeId, reply)
  if (fault) return refuseReply(ctx, nodeId, reply.metadata, fault)
  const isNew = await life.answer(tx, reply, ctx.clock.now())
  const objectsToPush = await ctx.objects.announce(tx, reply.metadata.messageId, flattenTree(reply.tree))
  const runId = reply.metadata.runId as RunId
  afterCommit(() => {
    if (isNew) ctx.progress.replied(runId, reply.error)
    if (objectsToPush.length > 0) ctx.bells.incomplete.ring('incomplete')
    ctx.bells.replies.ring(runId)
    ctx.bells.runs.ring(runId)
  })
  return { accepted: true, objectsToPush }
}

/** Takes nothing of a reply. Of a reply to the instruction of another node no more is said than of one to none. */
export function refuseReply(
  ctx: Pick<Ctx, 'log'>,
  nodeId: NodeId,
  { runId }: Pick<Metadata, 'runId'>,
  reason = instructionUnknown,
): { accepted: false; objectsToPush: string[] } {
  ctx.log.warn('A reply was refused', { node: nodeId, run: runId, reason })
  return { accepted: false, objectsToPush: [] }
}

const instructionUnknown = 'its instruction is unknown or has expired'

async function findReplyFault(
  ctx: Pick<Ctx, 'clock'>,
  tx: Db,
  nodeId: NodeId,
  reply: Omit<StoredMessage, 'deliveredAt'>,
): Promise<string | undefined> {
  const { metadata } = reply
  if (!(await isRunOpen(tx, metadata.runId as RunId))) return 'its run has ended'
  const fault = findFault('reply', metadata, reply.tree, ctx.clock.now())
  if (fault) return fault
  const instruction = await messageStore.find(tx, metadata.replyToMessageId)
  if (!instruction || expiresAt(instruction) <= ctx.clock.now()) return instructionUnknown
  if (instruction.metadata.dstNodeId !== nodeId || metadata.srcNodeId !== nodeId)
    return 'its instruction was for another node'
  if (instruction.metadata.runId !== metadata.runId) return 'its instruction is of another run'
  const restSeconds = instruction.metadata.createdAt + instruction.metadata.ttl - metadata.createdAt
  if (metadata.ttl > restSeconds + ttlToleranceSeconds) return 'it would outlive its instruction'
  const [earlier] = await messageStore.listRepliesTo(tx, [metadata.replyToMessageId])
  if (earlier && earlier.metadata.messageId !== metadata.messageId) return 'there is another reply already'
  const stored = await messageStore.find(tx, metadata.messageId)
  if (stored && !messageStore.isSameMessage(stored.metadata, metadata)) return 'its id belongs to another message'
  return undefined
}

/**
 * Returns the replies to these instructions of a run, or to any instruction of it if `instructionIds` is undefined. Waits up
 * to `waitMs` for one reply, or for every reply if `all` is set and the instructions are named. A reply is complete: one that
 * was handed out when it was announced could keep its ServerApp waiting for objects that a killed node never sends.
 */
export async function collectReplies(
  ctx: CollectingCtx,
  runId: RunId,
  instructionIds: readonly string[] | undefined,
  wait: { waitMs: number; signal: AbortSignal; all: boolean },
): Promise<StoredMessage[]> {
  if (instructionIds?.length === 0) return []
  if (instructionIds && instructionIds.length > limits.repliesPerPullMax)
    throw new DomainError('invalid-request', `More than ${limits.repliesPerPullMax} message ids in one request.`)
  const enough = wait.all && instructionIds ? instructionIds.length : 1
  const resolve = async (): Promise<StoredMessage[]> =>
    resolveReplies(ctx, runId, instructionIds ?? (await listOpen(ctx, runId)))
  const look = async (): Promise<StoredMessage[] | undefined> => {
    const replies = await resolve()
    return replies.length >= enough ? replies : undefined
  }
  return (await lookAgain(ctx.bells.replies, runId, look, wait)) ?? (wait.all ? resolve() : [])
}

function listOpen({ db }: Pick<Ctx, 'db'>, runId: RunId): Promise<string[]> {
  return messageStore.listInstructionIdsOfRun(db.read, runId, limits.repliesPerPullMax)
}

async function resolveReplies(ctx: CollectingCtx, runId: RunId, ids: readonly string[]): Promise<StoredMessage[]> {
  if (ids.length === 0) return []
  const now = ctx.clock.now()
  const turn = takeTurns()
  const replies = new Map<string, StoredMessage>()
  for (const reply of await messageStore.listCompleteRepliesTo(ctx.db.read, runId, ids)) {
    await turn()
    const { replyToMessageId } = reply.metadata
    if (replies.has(replyToMessageId)) continue
    const fault = await ctx.checkedReplies.findFault(ctx.objects, reply)
    const good = fault === undefined ? reply : await replaceReply(ctx, reply, `cannot be read: ${fault}`)
    if (good) replies.set(replyToMessageId, good)
  }
  const open = ids.filter((id) => !replies.has(id))
  if (open.length === 0) return [...replies.values()]
  const instructions = new Map(
    (await messageStore.listInstructions(ctx.db.read, runId, open)).map((message) => [
      message.metadata.messageId,
      message,
    ]),
  )
  for (const id of open) {
    const instruction = instructions.get(id)
    if (!instruction) {
      const { reply, content } = createErrorReply(ctx, runId, id, undefined, messageUnavailable)
      ctx.passingReplies.keep(runId, reply.metadata.messageId, content)
      replies.set(id, reply)
      continue
    }
    const error = await findUndeliverable(ctx, instruction, now)
    if (!error) continue
    const reply = await ctx.db.transaction((tx, afterCommit) =>
      failInstruction(ctx, tx, afterCommit, instruction, error, superlinkNodeId),
    )
    if (reply) replies.set(id, reply)
  }
  return [...replies.values()]
}

async function findUndeliverable(ctx: Ctx, instruction: StoredMessage, now: number): Promise<MessageError | undefined> {
  if (expiresAt(instruction) <= now) return messageUnavailable
  const { runId, dstNodeId } = instruction.metadata
  if (await ctx.runNodes.isReachable(ctx.db.read, runId as RunId, dstNodeId as NodeId)) return undefined
  return {
    code: errorCodes.nodeUnavailable,
    reason:
      'Error: Node Unavailable — The destination node failed to report a heartbeat within 2 × its expected interval.',
  }
}

/** Notifies the calls that wait for a reply whose last object this is. */
export async function noteArrival(ctx: Pick<Ctx, 'db' | 'bells'>, objectId: string): Promise<void> {
  for (const runId of await messageStore.listRunsCompletedBy(ctx.db.read, objectId)) ctx.bells.replies.ring(runId)
}

/**
 * A node that starts anew, or has gone silent, will not send the rest of what it announced: that is as if it had not
 * answered.
 */
export async function forgetIncomplete(
  ctx: Pick<Ctx, 'objects' | 'log' | 'progress'>,
  tx: Db,
  afterCommit: AfterCommit,
  nodeId: NodeId,
): Promise<void> {
  const replies = await messageStore.listIncompleteReplies(tx, nodeId)
  if (replies.length === 0) return
  await withdrawReplies(ctx, tx, afterCommit, replies)
  ctx.log.warn('Replies that a SuperNode announced and did not send are forgotten', {
    node: nodeId,
    count: replies.length,
  })
}

/**
 * A SuperNode that starts anew will not answer what it confirmed in its former life: the ServerApp gets errors instead.
 * (What it did not confirm is delivered again.)
 */
export async function failConfirmed(ctx: TakingCtx, tx: Db, afterCommit: AfterCommit, nodeId: NodeId): Promise<void> {
  const reason = 'Error: Node Unavailable — The SuperNode was restarted before it answered this message.'
  for (const instruction of await messageStore.listConfirmedUnanswered(tx, nodeId)) {
    const error = { code: errorCodes.nodeUnavailable, reason }
    await failInstruction(ctx, tx, afterCommit, instruction, error, superlinkNodeId)
  }
}

/**
 * Whether an object that no message waits for belongs to a reply that its ServerApp has already: then the response to its
 * upload was lost, and this is the second try. A session is named after the instruction, which is forgotten with its reply.
 * (The instruction of another node looks the same: the uploading node does not learn whether there is such a message.)
 */
export async function wasTakenUp(
  ctx: Pick<SuperlinkContext, 'db'>,
  nodeId: NodeId,
  sessionId: string,
): Promise<boolean> {
  if (sessionId === '') return false
  const instruction = await messageStore.find(ctx.db.read, sessionId)
  return instruction?.metadata.dstNodeId !== nodeId
}

/** Forgets all messages and objects of a run that has ended. */
export async function forgetRunMessages(
  ctx: Pick<SuperlinkContext, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  runId: RunId,
): Promise<void> {
  await life.forget(ctx, tx, afterCommit, await listIdsOfRun(tx, runId))
}
