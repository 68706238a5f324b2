import { limits } from '../../base/limits.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import type { NewMessage } from './message-store.ts'

/** Small messages travel with their objects, between our own programs: see docs/decisions/0015. */

/** Returns all objects of a message, or none: if they are too large, or not all here, its receiver fetches them one by one. */
export async function readObjects(
  { objects }: Pick<SuperlinkContext, 'objects'>,
  { tree }: NewMessage,
  bytesMax: number,
  makeRoom: MakeRoom,
): Promise<readonly Uint8Array[]> {
  if (bytesMax === 0) return []
  const ids = await flattenTreeInTurns(tree)
  if (ids.length > limits.carriedObjectsMax) return []
  return (await objects.getAll(ids, Math.min(bytesMax, limits.carriedBytesMax), makeRoom)) ?? []
}
