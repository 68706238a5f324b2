import { lookAgain } from '../../base/bell.ts'
import { DomainError } from '../../base/errors.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import type { SuperlinkContext } from '../context.ts'
import { ensureRunOpen } from '../runs/run.ts'
import * as life from './life.ts'
import type { StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'
import { findFault } from './validate.ts'

/**
 * Instructions on their way from a ServerApp to its nodes. Each reaches its node once; when the connection breaks before
 * the answer was written, or the node comes back without having confirmed it, again.
 */

/**
 * Takes the instructions of a run. Returns an id for each, empty if it was refused (unknown or unregistered node), and the
 * objects whose content is missing. Throws `invalid-request` for a malformed message, and `run-not-running` if the run has
 * ended: then none is taken.
 */
export async function pushInstructions(
  ctx: Pick<SuperlinkContext, 'db' | 'objects' | 'clock' | 'bells' | 'progress' | 'runNodes'>,
  runId: RunId,
  messages: readonly Omit<StoredMessage, 'deliveredAt'>[],
): Promise<{ messageIds: string[]; objectsToPush: string[] }> {
  if (messages.length > limits.messagesPerPushMax) {
    throw new DomainError('invalid-request', `More than ${limits.messagesPerPushMax} messages in one push.`)
  }
  const now = ctx.clock.now()
  for (const { metadata, tree } of messages) {
    if (metadata.runId !== runId) throw new DomainError('not-of-this-task', 'Invalid message: another run.')
    if (metadata.srcNodeId !== superlinkNodeId)
      throw new DomainError('not-of-this-task', 'Invalid message: its source is not the SuperLink.')
    const fault = findFault('instruction', metadata, tree, now)
    if (fault) throw new DomainError('invalid-request', `Invalid message: ${fault}.`)
  }
  return ctx.db.transaction(async (tx, afterCommit) => {
    await ensureRunOpen(tx, runId)
    const messageIds: string[] = []
    const missing = new Set<string>()
    const receivers: NodeId[] = []
    for (const message of messages) {
      const nodeId = message.metadata.dstNodeId as NodeId
      if (!(await ctx.runNodes.takes(tx, runId, nodeId))) {
        messageIds.push('')
        continue
      }
      for (const id of await life.offer(ctx, tx, message)) missing.add(id)
      messageIds.push(message.metadata.messageId)
      receivers.push(nodeId)
    }
    afterCommit(() => {
      ctx.runNodes.wake(runId, receivers)
      ctx.progress.asked(runId, receivers.length)
      ctx.bells.deadlines.ring('deadlines')
      // A node that is offline now makes its instruction an error.
      ctx.bells.replies.ring(runId)
      ctx.bells.runs.ring(runId)
    })
    return { messageIds, objectsToPush: [...missing] }
  })
}

/**
 * The next instruction for a node, waiting for one up to `waitMs`, or until a run has ended that the node has not seen the
 * end of (`endedAfter`, a position among the ended runs).
 */
export async function claimInstruction(
  ctx: Pick<SuperlinkContext, 'db' | 'clock' | 'bells' | 'tasks'>,
  nodeId: NodeId,
  wait: { waitMs: number; signal: AbortSignal; endedAfter: bigint | undefined },
): Promise<StoredMessage | undefined> {
  const look = async (): Promise<{ message: StoredMessage | undefined } | undefined> => {
    const message = await claim(ctx, nodeId)
    const news = wait.endedAfter !== undefined && ctx.tasks.endedRuns.since(wait.endedAfter).length > 0
    return message || news ? { message } : undefined
  }
  const claimed = (await lookAgain(ctx.bells.instructions, nodeId, look, wait))?.message
  if (claimed && wait.signal.aborted) {
    await giveBack(ctx, claimed, nodeId)
    return undefined
  }
  return claimed
}

async function claim(ctx: Pick<SuperlinkContext, 'db' | 'clock'>, nodeId: NodeId): Promise<StoredMessage | undefined> {
  const now = ctx.clock.now()
  if (!(await messageStore.findPending(ctx.db.read, nodeId, now))) return undefined
  return ctx.db.transaction(async (tx) => {
    // Look again in the transaction: another call of the node may have been faster.
    const message = await messageStore.findPending(tx, nodeId, now)
    if (!message) return undefined
    await life.handOut(tx, message, now)
    return { ...message, deliveredAt: now }
  })
}

async function giveBack(
  ctx: Pick<SuperlinkContext, 'db' | 'bells'>,
  { metadata, deliveredAt = 0 }: StoredMessage,
  nodeId: NodeId,
): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    if (!(await life.giveBack(tx, metadata.messageId, deliveredAt))) return
    afterCommit(() => ctx.bells.instructions.ring(nodeId))
  })
}

/** A node that starts anew gets what it fetched in its former life and never confirmed. */
export async function redeliver(
  ctx: Pick<SuperlinkContext, 'bells' | 'log'>,
  tx: Db,
  afterCommit: AfterCommit,
  nodeId: NodeId,
): Promise<void> {
  const count = await life.offerAgain(tx, nodeId)
  if (count === 0) return
  ctx.log.info('Instructions that were never confirmed are delivered again', { node: nodeId, count })
  afterCommit(() => ctx.bells.instructions.ring(nodeId))
}
