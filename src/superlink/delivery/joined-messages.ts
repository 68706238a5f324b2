import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import type { CarriedObject } from '../../objects/carried-objects.ts'
import { splitObjects } from '../../objects/joined-objects.ts'
import { objectId, parseObject } from '../../objects/object-format.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import { listJoinedMessages, listJoinedTo } from './joined-objects.ts'
import { releaseBundles } from './life.ts'
import { takeObjectsOut } from './message-store.ts'

/**
 * A small message that came with its objects is one row: see `joining.ts`. Programs of ours receive these objects with the
 * message. For a receiver that fetches objects one by one they are taken apart first: then they are as those of any other
 * message.
 */

type Ctx = Pick<SuperlinkContext, 'db' | 'objects'>

/** Gives the objects of these messages rows of their own. A message that is gone, or has them already, is left alone. */
export async function takeApart(ctx: Ctx, messageIds: readonly string[]): Promise<void> {
  for (let start = 0; start < messageIds.length; start += limits.messagesPerTransactionMax) {
    const some = messageIds.slice(start, start + limits.messagesPerTransactionMax)
    await ctx.db.transaction((tx, afterCommit) => takeApartIn(ctx, tx, afterCommit, some))
  }
}

/** The same in a transaction. */
export async function takeApartIn(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  messageIds: readonly string[],
): Promise<void> {
  const carried = new Map<string, CarriedObject>()
  const named: { messageId: string; objectIds: readonly string[] }[] = []
  const bundles = new Set<string>()
  for (const { messageId, tree, joined } of await listJoinedMessages(tx, messageIds)) {
    named.push({ messageId, objectIds: await flattenTreeInTurns(tree) })
    if (joined.bundleId !== undefined) bundles.add(joined.bundleId)
    for (const bytes of splitObjects(joined.objects)) {
      const id = objectId(bytes)
      carried.set(id, { id, type: parseObject(bytes).type, bytes })
    }
  }
  if (named.length === 0) return
  await ctx.objects.announceAll(tx, afterCommit, named, carried)
  const ids = named.map(({ messageId }) => messageId)
  await takeObjectsOut(tx, ids)
  await releaseBundles(ctx, tx, afterCommit, bundles)
}

/** As `takeApart`, for all messages of a run to its ServerApp. Returns whether there were any. */
export async function takeRepliesApart(ctx: Ctx, runId: RunId): Promise<boolean> {
  return takeAllApart(ctx, runId, superlinkNodeId)
}

/** The same for the messages of a run to this node. */
export async function takeInstructionsApart(ctx: Ctx, runId: RunId, nodeId: NodeId): Promise<boolean> {
  return takeAllApart(ctx, runId, nodeId)
}

async function takeAllApart(ctx: Ctx, runId: RunId, dstNodeId: bigint): Promise<boolean> {
  const ids = await listJoinedTo(ctx.db.read, runId, dstNodeId)
  await takeApart(ctx, ids)
  return ids.length > 0
}
