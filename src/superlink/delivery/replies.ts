import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Together } from '../../base/together.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { errorCodes, type Metadata } from '../../message/message.ts'
import { type CarriedObjects, nothingCarried } from '../../objects/carried-objects.ts'
import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import { failInstructions, type TakingCtx, withdraw } from './error-replies.ts'
import * as life from './life.ts'
import * as messageStore from './message-store.ts'
import { expiresAt, type ListedMessage, type NewMessage, type SentMessage } from './message-store.ts'
import * as nodeMessages from './node-messages.ts'
import { listReplyIds } from './replies-to.ts'
import { type Sent, sendAll } from './sending.ts'
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
  readonly objectsToPush: readonly string[]
}

/**
 * Takes a node's reply, with the objects that came along. `accepted` is false, and nothing is stored, if no ServerApp waits
 * for it (any more). The same reply again is accepted again; a second, different reply to one instruction is not. A reply
 * that is whole with these objects confirms its instruction.
 */
export async function acceptReply(
  ctx: Pick<SuperlinkContext, 'replyIntake' | 'checkedReplies' | 'claims'>,
  nodeId: NodeId,
  reply: NewMessage,
  carried: CarriedObjects = nothingCarried,
): Promise<Acceptance> {
  // Before the ServerApp is notified: it may confirm the reply, or its run may end, before it is checked.
  using check = ctx.checkedReplies.begin(reply)
  const { accepted, objectsToPush, isNew } = await ctx.replyIntake.accept({ nodeId, reply, carried })
  if (accepted) ctx.claims.forgetHanded(reply.metadata.replyToMessageId)
  const isWhole = accepted && objectsToPush.length === 0
  // Its objects are in memory now. Otherwise they would be read again before it is handed out.
  if (isNew && isWhole && carried.size > 0) await ctx.checkedReplies.noteCarried(reply, carried, check)
  return { accepted, objectsToPush }
}

/** A reply on its way from its node, with the objects that came along. */
export interface SentReply {
  readonly nodeId: NodeId
  readonly reply: NewMessage
  readonly carried: CarriedObjects
}

/** Stores the replies of a crowd of nodes in common transactions. */
export class ReplyIntake {
  readonly #together: Together<SentReply, Acceptance & { isNew: boolean }>

  /** The context is asked for late: it holds the intake. */
  constructor(ctx: () => TakingCtx) {
    this.#together = new Together({
      work: (sent) => ctx().db.transaction((tx, afterCommit) => acceptAll(ctx(), tx, afterCommit, sent)),
      // Which of two replies to one message is accepted depends on the other one.
      keysOf: ({ reply: { metadata } }) => [metadata.messageId, metadata.replyToMessageId],
      atOnce: limits.messagesPerTransactionMax,
    })
  }

  accept(sent: SentReply): Promise<Acceptance & { isNew: boolean }> {
    return this.#together.do(sent)
  }
}

interface TakenReply extends Acceptance {
  readonly isNew: boolean
  /** What an accepted reply is for. */
  readonly instruction?: SentMessage
}

async function acceptAll(
  ctx: TakingCtx,
  tx: Db,
  afterCommit: AfterCommit,
  sent: readonly SentReply[],
): Promise<TakenReply[]> {
  const outcomes = await takeReplies(ctx, tx, afterCommit, sent)
  const confirmed = sent.flatMap(({ carried }, index) => {
    const { instruction, objectsToPush = [] } = outcomes[index] ?? {}
    return instruction && objectsToPush.length === 0 && carried.size > 0 ? [instruction] : []
  })
  await life.letGo(ctx, tx, afterCommit, confirmed)
  return outcomes
}

/** As `acceptReply`, for replies to different messages and within a transaction. Does not confirm what they reply to. */
export async function takeReplies(
  ctx: TakingCtx,
  tx: Db,
  afterCommit: AfterCommit,
  sent: readonly SentReply[],
): Promise<TakenReply[]> {
  const { known, judge } = await readForJudgement(tx, sent)
  const judged = sent.map((one) => ({ ...one, judgement: judge(one, ctx.clock.now()) }))
  const good = judged.filter(({ judgement }) => 'instruction' in judgement)
  const replies = good.map(({ reply }) => reply)
  const stored = await sendAll(ctx, tx, afterCommit, replies, { carried: carriedByAll(good), known })
  const outcomes = new Map(replies.map((reply, index) => [reply, stored[index] as Sent]))
  return judged.map(({ nodeId, reply, judgement }) => {
    const outcome = outcomes.get(reply)
    if ('fault' in judgement || !outcome) {
      const fault = 'fault' in judgement ? judgement.fault : undefined
      return { ...refuseReply(ctx, nodeId, reply.metadata, fault), isNew: false }
    }
    afterCommit(() => noteReply(ctx, nodeId, reply, judgement.instruction, outcome))
    return { accepted: true, ...outcome, instruction: judgement.instruction }
  })
}

function carriedByAll(sent: readonly SentReply[]): CarriedObjects {
  const [first] = sent
  if (sent.length === 1 && first) return first.carried
  return new Map(sent.flatMap(({ carried }) => [...carried]))
}

function noteReply(
  ctx: TakingCtx,
  nodeId: NodeId,
  { metadata, error }: NewMessage,
  instruction: SentMessage,
  { isNew, objectsToPush }: Sent,
): void {
  const runId = metadata.runId as RunId
  const { deliveredAt: fetchedAt, metadata: asked } = instruction
  const askedAt = asked.createdAt * 1000
  const answered = {
    nodeId,
    messageId: asked.messageId,
    askedAt,
    fetchedAt,
    repliedAt: ctx.clock.now(),
    messageType: asked.messageType,
  }
  if (isNew) ctx.progress.nodeReplied(runId, error, answered)
  if (objectsToPush.length > 0) ctx.bells.incomplete.ring('incomplete')
  ctx.bells.runs.ring(runId)
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

type Judgement = { readonly instruction: SentMessage } | { readonly fault: string }

/** Reads what decides about these replies. Returns what is stored of them, and a function that says what a reply is for, or why it is refused. */
async function readForJudgement(
  tx: Db,
  sent: readonly SentReply[],
): Promise<{ known: ReadonlyMap<string, ListedMessage>; judge: (one: SentReply, now: number) => Judgement }> {
  const replies = sent.map(({ reply }) => reply.metadata)
  const open = new Set<bigint>()
  for (const runId of new Set(replies.map(({ runId }) => runId as RunId)))
    if (await isRunOpen(tx, runId)) open.add(runId)
  const ids = replies.flatMap(({ messageId, replyToMessageId }) => [messageId, replyToMessageId])
  const stored = await messageStore.findSent(tx, ids)
  const asked = replies.map(({ replyToMessageId }) => replyToMessageId)
  const replyIds = await listReplyIds(tx, asked)
  const judge = ({ nodeId, reply }: SentReply, now: number): Judgement => {
    const { metadata } = reply
    const no = (fault: string) => ({ fault })
    if (!open.has(metadata.runId)) return no('its run has ended')
    const fault = findFault('reply', metadata, reply.tree, now)
    if (fault) return no(fault)
    const instruction = stored.get(metadata.replyToMessageId)
    if (!instruction || expiresAt(instruction) <= now) return no(instructionUnknown)
    if (instruction.metadata.dstNodeId !== nodeId || metadata.srcNodeId !== nodeId)
      return no('its instruction was for another node')
    if (instruction.metadata.runId !== metadata.runId) return no('its instruction is of another run')
    const restSeconds = instruction.metadata.createdAt + instruction.metadata.ttl - metadata.createdAt
    if (metadata.ttl > restSeconds + ttlToleranceSeconds) return no('it would outlive its instruction')
    const earlier = replyIds.get(metadata.replyToMessageId)
    if (earlier !== undefined && earlier !== metadata.messageId) return no('there is another reply already')
    const same = stored.get(metadata.messageId)
    if (same && !messageStore.isSameMessage(same.metadata, metadata)) return no('its id belongs to another message')
    return { instruction }
  }
  return { known: stored, judge }
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
  const error = { code: errorCodes.nodeUnavailable, reason }
  const held = await nodeMessages.listHeld(tx, nodeId)
  const failures = held.map((instruction) => ({ instruction, error, srcNodeId: superlinkNodeId }))
  if (failures.length > 0) await failInstructions(ctx, tx, afterCommit, failures)
}

/**
 * Forgets all messages and objects of a run that has ended, or whose ServerApp starts again. Then nodes that still work on one
 * of them learn of the end of the run, although the ServerApp may not ask them again.
 */
export async function forgetRunMessages(
  ctx: Pick<SuperlinkContext, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  { runId, hasEnded }: { readonly runId: RunId; readonly hasEnded: boolean },
): Promise<void> {
  await life.forgetRun(ctx, tx, afterCommit, runId, hasEnded)
}
