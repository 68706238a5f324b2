import { DomainError } from '../base/errors.ts'
import { sha256InTurns } from '../base/hash-in-turns.ts'
import { limits } from '../base/limits.ts'
import { takeTurns } from '../base/turns.ts'
import { objectId, parseObject } from './object-format.ts'
import { flattenTree, type ObjectTree } from './object-tree.ts'

/** Objects that travel in one call with the messages that they are part of: see docs/decisions/0015. */
export interface CarriedObject {
  readonly id: string
  readonly type: string
  readonly bytes: Uint8Array
}

export type CarriedObjects = ReadonlyMap<string, CarriedObject>

export const nothingCarried: CarriedObjects = new Map()

/**
 * Names objects by their hashes. Throws `invalid-request` if they have more than `bytesMax` bytes together or are not part of
 * these trees, and `object-malformed` for one that is no object.
 */
export async function readCarried(
  objects: readonly Uint8Array[],
  trees: readonly ObjectTree[],
  bytesMax: number,
): Promise<CarriedObjects> {
  if (objects.length === 0) return nothingCarried
  const bytesTotal = objects.reduce((sum, { length }) => sum + length, 0)
  if (bytesTotal > bytesMax)
    throw new DomainError('invalid-request', `The objects have ${bytesTotal} bytes, more than ${bytesMax}.`)
  const turn = takeTurns()
  const named = new Set<string>()
  for (const tree of trees) {
    for (const id of flattenTree(tree)) named.add(id)
    await turn()
  }
  const carried = new Map<string, CarriedObject>()
  for (const bytes of objects) {
    const id = await sha256InTurns(bytes)
    if (!named.has(id)) throw new DomainError('invalid-request', `The object ${id} is not part of the messages.`)
    carried.set(id, { id, type: parseObject(bytes).type, bytes })
    await turn()
  }
  return carried
}

/**
 * Returns the objects that may travel with these messages, each once: those of the first messages that fit. A message travels
 * whole or without objects, except for objects that it shares with one before it.
 */
export function selectCarried(
  messages: readonly { readonly objects: ReadonlyMap<string, () => Uint8Array> }[],
  bytesMax: number,
): Uint8Array[] {
  const carried = new Map<string, Uint8Array>()
  let roomBytes = bytesMax
  for (const { objects } of messages) {
    if (objects.size > limits.carriedObjectsMax) continue
    const own = new Map<string, Uint8Array>()
    let ownBytes = 0
    let newBytes = 0
    for (const [id, read] of objects) {
      const known = carried.get(id)
      const bytes = known ?? read()
      ownBytes += bytes.length
      if (ownBytes > limits.carriedBytesMax) break
      if (known) continue
      own.set(id, bytes)
      newBytes += bytes.length
    }
    if (ownBytes > limits.carriedBytesMax || newBytes > roomBytes) continue
    roomBytes -= newBytes
    for (const [id, bytes] of own) carried.set(id, bytes)
  }
  return [...carried.values()]
}

/** The objects of a response, by their hashes. */
export function byHash(objects: readonly Uint8Array[]): ReadonlyMap<string, Uint8Array> {
  return new Map(objects.map((bytes) => [objectId(bytes), bytes]))
}
