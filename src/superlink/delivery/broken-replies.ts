import { errorText } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { errorCodes } from '../../message/message.ts'
import { failInstruction, type TakingCtx, withdraw } from './error-replies.ts'
import type { NewMessage, StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'
import * as runMessages from './run-messages.ts'

/** Replies that no app could read become errors with a reason. The replies of other nodes are not touched. */

/**
 * Replaces a reply that no app could read, or that will not come whole, by an error. A message that replies to nothing is
 * forgotten: no app waits for it.
 */
export function replaceReply(ctx: TakingCtx, message: StoredMessage, fault: string): Promise<NewMessage | undefined> {
  const { messageId, replyToMessageId, srcNodeId: node, runId: run } = message.metadata
  const isReply = replyToMessageId !== ''
  const text = isReply ? 'A reply is replaced by an error' : 'A message of a SuperNode is forgotten'
  return ctx.db.transaction(async (tx, afterCommit) => {
    const stored = await messageStore.find(tx, messageId)
    const instruction = isReply ? await messageStore.find(tx, replyToMessageId) : undefined
    // Its last object may have come, or its ServerApp may have taken it, since the fault was found.
    if (stored?.state !== message.state || (isReply && !instruction)) return undefined
    afterCommit(() => ctx.log.warn(text, { node, run, reason: `it ${fault}` }))
    await withdraw(ctx, tx, afterCommit, [stored])
    if (!instruction) return undefined
    const reason = `Error: Reply Message Unavailable - The reply of the SuperNode ${fault}`
    return failInstruction(ctx, tx, afterCommit, instruction, { code: errorCodes.replyMessageUnavailable, reason })
  })
}

/** An object of a node's message cannot be read. Its id is the hash of these bytes, so no better ones will come. */
export async function failMessagesWith(
  ctx: TakingCtx,
  object: { readonly nodeId: NodeId; readonly runId: RunId; readonly objectId: string },
  error: unknown,
): Promise<void> {
  for (const reply of await runMessages.listSentWith(ctx.db.read, object))
    await replaceReply(ctx, reply, `cannot be read: ${errorText(error)}`)
}
