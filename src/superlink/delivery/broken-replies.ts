import { errorText } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { errorCodes } from '../../message/message.ts'
import { failInstruction, type TakingCtx, withdrawReplies } from './error-replies.ts'
import type { StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'
import * as runMessages from './run-messages.ts'

/** Replies of SuperNodes that misbehave become errors with a reason. The replies of other nodes are not touched. */

/** Replaces a reply that no app could read, or that will not be completed. */
export function replaceReply(
  ctx: TakingCtx,
  { metadata }: StoredMessage,
  fault: string,
): Promise<StoredMessage | undefined> {
  const { messageId, replyToMessageId, srcNodeId: node } = metadata
  const runId = metadata.runId as RunId
  ctx.log.warn('A reply is replaced by an error', { node, run: runId, reason: fault })
  return ctx.db.transaction(async (tx, afterCommit) => {
    const instruction = await messageStore.find(tx, replyToMessageId)
    if (!instruction || !(await messageStore.find(tx, messageId))) return undefined
    await withdrawReplies(ctx, tx, afterCommit, [{ runId, messageId }])
    const reason = `Error: Reply Message Unavailable - The reply of the SuperNode ${fault}`
    return failInstruction(ctx, tx, afterCommit, instruction, { code: errorCodes.replyMessageUnavailable, reason })
  })
}

/** The bytes of an object of a node's reply are no object: its id stands for these bytes, so no other will come. */
export async function failRepliesWith(
  ctx: TakingCtx,
  object: { readonly nodeId: NodeId; readonly runId: RunId; readonly objectId: string },
  error: unknown,
): Promise<void> {
  for (const reply of await runMessages.listRepliesWith(ctx.db.read, object))
    await replaceReply(ctx, reply, `cannot be read: ${errorText(error)}`)
}

/**
 * Background job: gives up replies that were announced and whose objects stopped coming, although their node is online. It
 * looks while there are such replies, and remembers how many objects each had; a restart gives them the whole time again.
 */
export async function watchStalledReplies(ctx: TakingCtx, signal: AbortSignal): Promise<void> {
  const stalls = new StalledReplies()
  while (!signal.aborted) {
    using news = ctx.bells.incomplete.subscribe('incomplete')
    const missing = await runMessages.countMissingObjects(ctx.db.read)
    for (const messageId of stalls.look(missing, ctx.clock.now())) {
      const reply = await messageStore.find(ctx.db.read, messageId)
      if (reply) await replaceReply(ctx, reply, 'was announced, and its objects stopped coming.')
    }
    if (missing.size === 0) await news.wait(limits.idleLookMs, signal)
    else await ctx.clock.sleep(limits.replySilenceMs / 10, signal).catch(() => {})
  }
}

/** Tells from counts of missing objects which replies make no progress. */
export class StalledReplies {
  #seen = new Map<string, { readonly missing: number; readonly since: number }>()

  /** Returns the replies that have missed as many objects for longer than the limit. */
  look(missing: ReadonlyMap<string, number>, now: number): string[] {
    const seen = new Map(
      [...missing].map(([id, count]) => {
        const before = this.#seen.get(id)
        return [id, before?.missing === count ? before : { missing: count, since: now }] as const
      }),
    )
    this.#seen = seen
    return [...seen].filter(([, { since }]) => now - since >= limits.replySilenceMs).map(([id]) => id)
  }
}
