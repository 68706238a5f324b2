import { type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { CarriedObject, CarriedObjects } from '../../objects/carried-objects.ts'
import { joinedLength, joinObjects } from '../../objects/joined-objects.ts'
import { objectId, parseObject } from '../../objects/object-format.ts'
import type { SuperlinkContext } from '../context.ts'
import { listJoined, listJoinedOfRun } from './joined-objects.ts'
import { type NewMessage, takeObjectsOut } from './message-store.ts'

/**
 * A small reply whose objects came with it is one row: its objects are in it, joined. A ServerApp of ours receives them with
 * the reply. For one that fetches objects one by one they are taken apart first: then they are as those of any other message.
 */

/** Returns the objects of a new message as one value, if they are to be stored in its row. */
export function joinFor(
  { metadata }: NewMessage,
  objectIds: readonly string[],
  carried: CarriedObjects,
): { objects: Uint8Array; count: number } | undefined {
  if (carried.size === 0 || metadata.replyToMessageId === '' || metadata.dstNodeId !== superlinkNodeId) return undefined
  const objects: Uint8Array[] = []
  for (const id of objectIds) {
    const object = carried.get(id)
    if (!object) return undefined
    objects.push(object.bytes)
  }
  if (joinedLength(objects.map(({ length }) => length)) > limits.joinedObjectsBytesMax) return undefined
  return { objects: joinObjects(objects), count: objects.length }
}

/** Gives the objects of these messages rows of their own. A message that is gone, or has them already, is left alone. */
export async function takeApart(
  { db, objects }: Pick<SuperlinkContext, 'db' | 'objects'>,
  messageIds: readonly string[],
): Promise<void> {
  for (let start = 0; start < messageIds.length; start += limits.messagesPerTransactionMax) {
    const some = messageIds.slice(start, start + limits.messagesPerTransactionMax)
    await db.transaction(async (tx, afterCommit) => {
      const carried = new Map<string, CarriedObject>()
      const named: { messageId: string; objectIds: string[] }[] = []
      for (const [messageId, contents] of await listJoined(tx, some)) {
        const objectIds = contents.map(objectId)
        named.push({ messageId, objectIds })
        contents.forEach((bytes, index) => {
          const id = objectIds[index] as string
          carried.set(id, { id, type: parseObject(bytes).type, bytes })
        })
      }
      if (named.length === 0) return
      await objects.announceAll(tx, afterCommit, named, carried)
      await takeObjectsOut(
        tx,
        named.map(({ messageId }) => messageId),
      )
    })
  }
}

/** As `takeApart`, for all messages of a run. Returns whether there were any. */
export async function takeRunApart(ctx: Pick<SuperlinkContext, 'db' | 'objects'>, runId: RunId): Promise<boolean> {
  const ids = await listJoinedOfRun(ctx.db.read, runId)
  await takeApart(ctx, ids)
  return ids.length > 0
}
