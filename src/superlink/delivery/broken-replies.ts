import { errorText } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { errorCodes } from '../../message/message.ts'
import { failInstruction, type TakingCtx, withdraw } from './error-replies.ts'
import type { NewMessage, StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'
import * as nodeMessages from './node-messages.ts'
import * as runMessages from './run-messages.ts'

/** Replies of SuperNodes that misbehave become errors with a reason. The replies of other nodes are not touched. */

/**
 * Replaces a reply that no app could read, or that will not come whole, by an error. A message that replies to nothing is
 * forgotten: no app waits for it.
 */
export function replaceReply(ctx: TakingCtx, message: StoredMessage, fault: string): Promise<NewMessage | undefined> {
  const { messageId, replyToMessageId, srcNodeId: node, runId: run } = message.metadata
  const isReply = replyToMessageId !== ''
  const text = isReply ? 'A reply is replaced by an error' : 'A message of a SuperNode is forgotten'
  ctx.log.warn(text, { node, run, reason: `it ${fault}` })
  return ctx.db.transaction(async (tx, afterCommit) => {
    const stored = await messageStore.find(tx, messageId)
    const instruction = isReply ? await messageStore.find(tx, replyToMessageId) : undefined
    if (!stored || (isReply && !instruction)) return undefined
    await withdraw(ctx, tx, afterCommit, [stored])
    if (!instruction) return undefined
    const reason = `Error: Reply Message Unavailable - The reply of the SuperNode ${fault}`
    return failInstruction(ctx, tx, afterCommit, instruction, { code: errorCodes.replyMessageUnavailable, reason })
  })
}

/** The bytes of an object of a node's message are no object: its id stands for these bytes, so no other will come. */
export async function failMessagesWith(
  ctx: TakingCtx,
  object: { readonly nodeId: NodeId; readonly runId: RunId; readonly objectId: string },
  error: unknown,
): Promise<void> {
  for (const reply of await runMessages.listSentWith(ctx.db.read, object))
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
    const missing = await nodeMessages.countMissingObjects(ctx.db.read)
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
