import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { CarriedRoom } from '../../objects/carried-objects.ts'
import { splitObjects } from '../../objects/joined-objects.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import { takeApart } from './joined-messages.ts'
import { listJoined, listJoinedSizes } from './joined-objects.ts'
import { idOf } from './life.ts'
import type { NewMessage, StoredMessage } from './message-store.ts'
import type { PassingReplies } from './passing-replies.ts'

/** Small messages travel with their objects, between our own programs: see docs/decisions/0015. */

/** What one call carries: messages, the first ones if there is no room for all, and objects of theirs. */
export interface Parcel<M> {
  readonly messages: readonly M[]
  readonly objects: readonly Uint8Array[]
}

/** A message as a receiver gets it. Its objects may be in its row. */
type Outgoing = NewMessage & Partial<Pick<StoredMessage, 'isJoined' | 'joined'>>

interface Packing {
  readonly bytesMax: number
  readonly makeRoom?: MakeRoom | undefined
  readonly passing?: Passing | undefined
}

/**
 * Packs messages with their objects. A message whose objects are too large, or not all here, travels without them: its
 * receiver fetches them one by one. With a `bytesMax` of 0 that is so for all messages.
 */
export async function packMessages<M extends Outgoing>(
  ctx: Pick<SuperlinkContext, 'db' | 'objects'>,
  messages: readonly M[],
  { bytesMax, makeRoom, passing }: Packing,
): Promise<Parcel<M>> {
  const room = new CarriedRoom(Math.min(bytesMax, limits.carriedPerCallBytesMax))
  const chosen = bytesMax === 0 ? messages : await chooseMessages(ctx, messages, room, passing)
  // The receiver of these will ask for each object.
  const apart = chosen.filter((message) => message.isJoined && !room.ids.has(idOf(message))).map(idOf)
  if (apart.length > 0) await takeApart(ctx, apart)
  return { messages: chosen, objects: await read(ctx, room, chosen, { makeRoom, passing }) }
}

/** Returns the first messages, up to one that has no room. The room has the ids of objects, or of messages with joined objects. */
async function chooseMessages<M extends Outgoing>(
  { db, objects }: Pick<SuperlinkContext, 'db' | 'objects'>,
  messages: readonly M[],
  room: CarriedRoom,
  passing: Passing | undefined,
): Promise<readonly M[]> {
  const chosen: M[] = []
  for (let start = 0; start < messages.length; start += messagesAtOnce) {
    const some = messages.slice(start, start + messagesAtOnce)
    const joined = some.filter(({ isJoined, joined }) => isJoined && !joined).map(idOf)
    const joinedSizes = joined.length === 0 ? noSizes : await listJoinedSizes(db.read, joined)
    const sizeOfJoined = (message: M): number | undefined =>
      message.joined?.objects.length ?? joinedSizes.get(idOf(message))
    const idsApart = await withIds(some, (message) =>
      sizeOfJoined(message) === undefined ? 'all' : message.joined?.bundleId === undefined ? 'none' : 'shared',
    )
    const sizes = await objects.sizesOf([...new Set([...idsApart.values()].flat())])
    const sizeOf = (id: string): number => passing?.find(id)?.length ?? sizes.get(id) ?? Number.POSITIVE_INFINITY
    for (const message of some) {
      const parts = (idsApart.get(message) ?? []).map((id): [string, number] => [id, sizeOf(id)])
      const joinedSize = sizeOfJoined(message)
      if (joinedSize !== undefined) parts.push([idOf(message), joinedSize])
      if (parts.length > 0 && room.take(new Map(parts)) === 'full') return chosen
      chosen.push(message)
    }
  }
  return chosen
}

const noSizes: ReadonlyMap<string, number> = new Map()

/** Returns the ids of the objects that have rows of their own. None for a message of too many objects. */
async function withIds<M extends NewMessage>(
  messages: readonly M[],
  which: (message: M) => 'all' | 'shared' | 'none',
): Promise<ReadonlyMap<M, string[]>> {
  const found = new Map<M, string[]>()
  for (const message of messages) {
    const kind = which(message)
    const ids = kind === 'none' ? [] : await flattenTreeInTurns(message.tree)
    const apart = kind === 'shared' ? ids.filter((id) => id !== message.tree.objectId) : ids
    found.set(message, ids.length > limits.carriedObjectsMax ? [] : apart)
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
  { db, objects }: Pick<SuperlinkContext, 'db' | 'objects'>,
  { ids, bytesTaken }: CarriedRoom,
  messages: readonly Outgoing[],
  { makeRoom, passing }: Omit<Packing, 'bytesMax'>,
): Promise<Uint8Array[]> {
  if (ids.size === 0) return []
  await makeRoom?.(bytesTaken)
  const passed = passing ? [...ids].flatMap((id) => passing.find(id) ?? []) : []
  const travelling = messages.filter((message) => message.isJoined && ids.has(idOf(message)))
  const whole = new Map<string, readonly Uint8Array[]>()
  const notRead: string[] = []
  for (const message of travelling) {
    if (message.joined) whole.set(idOf(message), splitObjects(message.joined.objects))
    else notRead.push(idOf(message))
  }
  if (notRead.length > 0) for (const [id, contents] of await listJoined(db.read, notRead)) whole.set(id, contents)
  const stored = await objects.contentsOf([...ids].filter((id) => !whole.has(id)))
  return [...passed, ...[...whole.values()].flat(), ...stored.values()]
}
