import { DomainError } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { Db } from '../../db/database.ts'
import { findSentWith } from '../access/ownership.ts'
import type { SuperlinkContext } from '../context.ts'
import { ensureRunOpen } from '../runs/run.ts'
import { replaceReply } from './broken-replies.ts'
import type { TakingCtx } from './error-replies.ts'
import * as life from './life.ts'
import { expiresAt, type NewMessage } from './message-store.ts'
import * as nodeMessages from './node-messages.ts'
import * as participantStore from './participant-store.ts'
import { listOfferedUnprompted } from './run-messages.ts'
import { send } from './sending.ts'
import { findFault } from './validate.ts'

/**
 * Messages that a SuperNode sends unasked: they reply to nothing. A ServerApp receives them if it asks for everything, as the
 * ServerApps of Flower 1.43 can. That the run has asked the node for something before was checked already.
 */

/**
 * Takes such a message; the same one again is not delivered again. Returns the objects whose content is missing. Throws
 * `run-not-running` if the run has ended, `invalid-request` for a malformed or expired message, and `too-many-messages` if
 * too many messages of the node wait for the ServerApp.
 */
export async function acceptUnprompted(
  ctx: TakingCtx,
  nodeId: NodeId,
  message: NewMessage,
): Promise<{ accepted: true; objectsToPush: readonly string[] }> {
  const { metadata } = message
  const runId = metadata.runId as RunId
  return ctx.db.transaction(async (tx, afterCommit) => {
    await ensureRunOpen(tx, runId)
    const now = ctx.clock.now()
    const fault = findFault('unprompted', metadata, message.tree, now)
    if (fault) throw new DomainError('invalid-request', `Invalid message: ${fault}.`)
    const earlier = await nodeMessages.listUnprompted(tx, nodeId, runId)
    const others = earlier.filter((one) => one.messageId !== metadata.messageId)
    const taken = others.filter(({ state }) => state === 'taken')
    const surplus = new Set(taken.slice(0, Math.max(0, taken.length - limits.unpromptedTakenMax)))
    const done = new Set(others.filter((one) => one.expiresAt <= now || surplus.has(one)))
    const waiting = others.filter((one) => one.state !== 'taken' && !done.has(one))
    const treeBytes = waiting.reduce((sum, one) => sum + one.treeBytes, 0)
    if (waiting.length >= limits.unpromptedWaitingMax || treeBytes >= limits.objectTreeBytesMax)
      throw new DomainError(
        'too-many-messages',
        `${waiting.length} messages of this SuperNode wait for the ServerApp of run ${runId}, with object trees of ${treeBytes} bytes.`,
      )
    if (done.size > 0) {
      const ids = [...done].map(({ messageId }) => messageId)
      await life.forgetUnprompted(ctx, tx, afterCommit, metadata, ids)
    }
    const { objectsToPush } = await send(ctx, tx, afterCommit, message)
    if (objectsToPush.length > 0) afterCommit(() => ctx.bells.incomplete.ring('incomplete'))
    return { accepted: true, objectsToPush }
  })
}

/**
 * Returns whether the object is part of a message that the node has announced, within the transaction that stores it. Counts
 * its bytes if one of these messages replies to nothing. Throws `too-many-messages` if such messages of the node in this run
 * would hold too many with it.
 */
export async function takeRoomForObject(
  tx: Db,
  part: { readonly nodeId: NodeId; readonly runId: RunId; readonly objectId: string },
  bytes: number,
): Promise<boolean> {
  const { nodeId, runId } = part
  const messages = await findSentWith(tx, part)
  if (messages !== 'unprompted') return messages !== undefined
  const held = await participantStore.findUnpromptedBytes(tx, nodeId, runId)
  if (held + bytes > limits.unpromptedBytesMax)
    throw new DomainError(
      'too-many-messages',
      `The messages of this SuperNode that wait for the ServerApp of run ${runId} hold more than ${limits.unpromptedBytesMax} bytes.`,
    )
  await life.countUnprompted(tx, nodeId, runId, bytes)
  return true
}

/** Returns what waits for the ServerApp, at most `max` messages. What no app could read is forgotten. */
export async function listUnprompted(
  ctx: TakingCtx & Pick<SuperlinkContext, 'checkedReplies'>,
  runId: RunId,
  max: number,
): Promise<NewMessage[]> {
  if (max <= 0) return []
  const now = ctx.clock.now()
  const messages: NewMessage[] = []
  for (const message of await listOfferedUnprompted(ctx.db.read, runId, max)) {
    if (expiresAt(message) <= now) {
      await replaceReply(ctx, message, 'has expired before the ServerApp asked for it')
      continue
    }
    const fault = await ctx.checkedReplies.findFault(ctx, message)
    if (fault === undefined) messages.push(message)
    else await replaceReply(ctx, message, `cannot be read: ${fault}`)
  }
  return messages
}
