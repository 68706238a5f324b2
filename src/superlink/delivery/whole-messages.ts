import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { CarriedRoom } from '../../objects/carried-objects.ts'
import type { ObjectStore } from '../../objects/object-store.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { NewMessage } from './message-store.ts'
import type { PassingReplies } from './passing-replies.ts'

/** Small messages travel with their objects, between our own programs: see docs/decisions/0015. */

/** What one call carries: messages, the first ones if there is no room for all, and objects of theirs. */
export interface Parcel<M> {
  readonly messages: readonly M[]
  readonly objects: readonly Uint8Array[]
}

/**
 * Packs messages with their objects. A message whose objects are too large, or not all here, travels without them: its
 * receiver fetches them one by one. With a `bytesMax` of 0 that is so for all messages.
 */
export async function packMessages<M extends NewMessage>(
  objects: ObjectStore,
  messages: readonly M[],
  { bytesMax, makeRoom, passing }: { bytesMax: number; makeRoom?: MakeRoom | undefined; passing?: Passing },
): Promise<Parcel<M>> {
  if (bytesMax === 0 || messages.length === 0) return { messages, objects: [] }
  const room = new CarriedRoom(Math.min(bytesMax, limits.carriedPerCallBytesMax))
  const packed: M[] = []
  for (let start = 0; start < messages.length; start += messagesAtOnce) {
    const some = await withIds(messages.slice(start, start + messagesAtOnce))
    const sizes = await objects.sizesOf([...new Set(some.flatMap(({ ids }) => ids))])
    for (const { message, ids } of some) {
      const sizeOf = (id: string): number => passing?.find(id)?.length ?? sizes.get(id) ?? Number.POSITIVE_INFINITY
      const isFull = ids.length > 0 && room.take(new Map(ids.map((id) => [id, sizeOf(id)]))) === 'full'
      if (isFull) return { messages: packed, objects: await read(objects, room, makeRoom, passing) }
      packed.push(message)
    }
  }
  return { messages: packed, objects: await read(objects, room, makeRoom, passing) }
}

/** No ids for a message of too many objects. */
async function withIds<M extends NewMessage>(messages: readonly M[]): Promise<{ message: M; ids: string[] }[]> {
  const found: { message: M; ids: string[] }[] = []
  for (const message of messages) {
    const ids = await flattenTreeInTurns(message.tree)
    found.push({ message, ids: ids.length > limits.carriedObjectsMax ? [] : ids })
  }
  return found
}

/** Contents that are not stored. */
interface Passing {
  find(objectId: string): Uint8Array | undefined
}

export function passingOf(replies: PassingReplies, runId: RunId): Passing {
  return { find: (objectId) => replies.find(runId, objectId) }
}

const messagesAtOnce = 50

/** Objects that were deleted meanwhile are left out; the receiver then pulls them and learns that they are gone. */
async function read(
  objects: ObjectStore,
  { ids, bytesTaken }: CarriedRoom,
  makeRoom: MakeRoom | undefined,
  passing: Passing | undefined,
): Promise<Uint8Array[]> {
  if (ids.size === 0) return []
  await makeRoom?.(bytesTaken)
  const passed = [...ids].flatMap((id) => passing?.find(id) ?? [])
  return [...passed, ...(await objects.contentsOf([...ids])).values()]
}
