import { DomainError } from '../../base/errors.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { takeTurns } from '../../base/turns.ts'
import { errorCodes, type MessageError } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import { ensureRunOpen } from '../runs/run.ts'
import { replaceReply } from './broken-replies.ts'
import {
  createErrorReply,
  type Failure,
  failInstructions,
  messageUnavailable,
  type TakingCtx,
} from './error-replies.ts'
import * as messageStore from './message-store.ts'
import { expiresAt, type NewMessage, type SentMessage } from './message-store.ts'
import { listOfferedRepliesTo } from './offered-replies.ts'
import type { ReplyNews, ReplyWaiter } from './reply-waiters.ts'
import * as runMessages from './run-messages.ts'
import { listUnprompted } from './unprompted.ts'

/**
 * What ServerApps receive. A call that waits looks at everything that it waits for once, and from then on at the messages that
 * it is notified of.
 */

type CollectingCtx = TakingCtx & Pick<SuperlinkContext, 'runNodes' | 'passingReplies' | 'checkedReplies'>

/**
 * Returns the replies to these instructions of a run. If `instructionIds` is undefined it returns everything that nodes have
 * sent to the ServerApp: replies to any instruction, and messages that reply to nothing. Waits up to `waitMs` for one message,
 * or for every reply if `all` is set and the instructions are named. Each one is whole: a message that was handed out when it
 * was announced could keep its ServerApp waiting for objects that a killed node never sends. Throws `run-not-running` as soon
 * as the run has ended. The replies that do not fit into one response are in the next one.
 */
export async function collectReplies(
  ctx: CollectingCtx,
  runId: RunId,
  instructionIds: readonly string[] | undefined,
  wait: { waitMs: number; signal: AbortSignal; all: boolean },
): Promise<NewMessage[]> {
  if (instructionIds?.length === 0) return []
  if (instructionIds && instructionIds.length > limits.repliesPerPullMax)
    throw new DomainError('invalid-request', `More than ${limits.repliesPerPullMax} message ids in one request.`)
  using waiter = ctx.bells.replies.subscribe(runId, instructionIds)
  const look = (ids: readonly string[] | undefined, enough: number): Promise<Resolved> =>
    ids ? resolveReplies(ctx, runId, ids, enough, waiter) : resolveAll(ctx, runId, waiter)
  if (wait.all && instructionIds) return await collectEvery(ctx, runId, instructionIds, { ...wait, waiter, look })
  const found = await untilFound(ctx, runId, { ...wait, waiter }, async (news) => {
    const ids = news.isEverything || news.isUnprompted ? instructionIds : news.ids
    const { replies } = await look(ids, 1)
    return replies.length > 0 ? replies : undefined
  })
  return found ?? []
}

/** Returns every reply, or those that are here when the time is over. */
async function collectEvery(
  ctx: CollectingCtx,
  runId: RunId,
  ids: readonly string[],
  wait: Waiting & { look: (ids: readonly string[], enough: number) => Promise<Resolved> },
): Promise<NewMessage[]> {
  let open = new Set(ids)
  const found = await untilFound(ctx, runId, wait, async (news) => {
    if (!news.isEverything) {
      const { replies, isFull } = await wait.look(news.ids, Number.POSITIVE_INFINITY)
      for (const { metadata } of replies) open.delete(metadata.replyToMessageId)
      // No later news names what had no room: everything is looked at instead.
      if (!isFull && open.size > 0) return undefined
    }
    const { replies, isFull } = await wait.look(ids, ids.length)
    if (isFull || replies.length >= ids.length) return replies
    const here = new Set(replies.map(({ metadata }) => metadata.replyToMessageId))
    open = new Set(ids.filter((id) => !here.has(id)))
    return undefined
  })
  return found ?? (await wait.look(ids, ids.length)).replies
}

interface Waiting {
  readonly waiter: ReplyWaiter
  readonly waitMs: number
  readonly signal: AbortSignal
}

/** Looks at everything, and then at what there is news of, until something is found or the time is over. */
async function untilFound<T>(
  { db }: CollectingCtx,
  runId: RunId,
  { waiter, waitMs, signal }: Waiting,
  look: (news: ReplyNews) => Promise<T | undefined>,
): Promise<T | undefined> {
  const endsAt = performance.now() + waitMs
  for (let news: ReplyNews = { ids: [], isUnprompted: false, isEverything: true }; ; news = waiter.take()) {
    // The task of the ServerApp ends with its run: its call is not held any longer.
    if (news.isEverything) await ensureRunOpen(db.read, runId)
    const found = await look(news)
    if (found !== undefined) return found
    const restMs = endsAt - performance.now()
    if (restMs <= 0 || signal.aborted) return undefined
    await waiter.wait(restMs, signal)
  }
}

interface Resolved {
  readonly replies: NewMessage[]
  /** There are more replies than one response can hold. */
  readonly isFull: boolean
}

async function resolveAll(ctx: CollectingCtx, runId: RunId, waiter: ReplyWaiter): Promise<Resolved> {
  const max = limits.repliesPerPullMax
  const ids = await runMessages.listInstructionIds(ctx.db.read, runId, max)
  const { replies, isFull } = await resolveReplies(ctx, runId, ids, max, waiter)
  const unprompted = isFull ? [] : await listUnprompted(ctx, runId, max - replies.length)
  const all = [...replies, ...unprompted].toSorted((one, other) => one.metadata.createdAt - other.metadata.createdAt)
  return { replies: all, isFull }
}

/** Which instructions will not be replied to is decided only if fewer than `enough` replies are here. */
async function resolveReplies(
  ctx: CollectingCtx,
  runId: RunId,
  ids: readonly string[],
  enough: number,
  waiter: ReplyWaiter,
): Promise<Resolved> {
  if (ids.length === 0) return { replies: [], isFull: false }
  const { replies, hasMore } = await checkedReplies(ctx, runId, ids)
  const open = ids.filter((id) => !replies.has(id))
  if (!hasMore && open.length > 0 && replies.size < enough)
    for (const [id, reply] of await failOpen(ctx, runId, open, waiter)) replies.set(id, reply)
  return { replies: [...replies.values()], isFull: hasMore }
}

/** The replies that are here, by the instruction of each. One that cannot be read is replaced by an error. */
async function checkedReplies(
  ctx: CollectingCtx,
  runId: RunId,
  ids: readonly string[],
): Promise<{ replies: Map<string, NewMessage>; hasMore: boolean }> {
  const turn = takeTurns()
  const replies = new Map<string, NewMessage>()
  const offered = await listOfferedRepliesTo(ctx.db.read, runId, ids)
  for (const reply of offered.replies) {
    await turn()
    const { replyToMessageId } = reply.metadata
    if (replies.has(replyToMessageId)) continue
    const fault = await ctx.checkedReplies.findFault(ctx, reply)
    const good = fault === undefined ? reply : await replaceReply(ctx, reply, `cannot be read: ${fault}`)
    if (good) replies.set(replyToMessageId, good)
  }
  return { replies, hasMore: offered.hasMore }
}

/** Error replies to those of these instructions that will have no other reply. The others are waited for. */
async function failOpen(
  ctx: CollectingCtx,
  runId: RunId,
  open: readonly string[],
  waiter: ReplyWaiter,
): Promise<Map<string, NewMessage>> {
  const now = ctx.clock.now()
  const turn = takeTurns()
  const replies = new Map<string, NewMessage>()
  const listed = await messageStore.listInstructions(ctx.db.read, runId, open)
  waiter.expect(listed)
  const instructions = new Map(listed.map((sent) => [sent.metadata.messageId, sent]))
  const undeliverable: Failure[] = []
  for (const id of open) {
    await turn()
    const instruction = instructions.get(id)
    if (!instruction) {
      const { message, content } = createErrorReply(ctx, runId, id, undefined, messageUnavailable)
      ctx.passingReplies.keep(runId, message.metadata.messageId, content)
      replies.set(id, message)
      continue
    }
    const error = await findUndeliverable(ctx, instruction, now)
    if (error) undeliverable.push({ instruction, error, srcNodeId: superlinkNodeId })
  }
  for (let start = 0; start < undeliverable.length; start += limits.messagesPerTransactionMax) {
    const some = undeliverable.slice(start, start + limits.messagesPerTransactionMax)
    const failed = await ctx.db.transaction((tx, afterCommit) => failInstructions(ctx, tx, afterCommit, some))
    for (const reply of failed) replies.set(reply.metadata.replyToMessageId, reply)
  }
  return replies
}

async function findUndeliverable(
  ctx: CollectingCtx,
  instruction: SentMessage,
  now: number,
): Promise<MessageError | undefined> {
  if (expiresAt(instruction) <= now) return messageUnavailable
  const { runId, dstNodeId } = instruction.metadata
  if (await ctx.runNodes.isReachable(runId as RunId, dstNodeId as NodeId)) return undefined
  return {
    code: errorCodes.nodeUnavailable,
    reason:
      'Error: Node Unavailable — The destination node failed to report a heartbeat within 2 × its expected interval.',
  }
}
