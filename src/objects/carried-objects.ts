import { DomainError } from '../base/errors.ts'
import { sha256InTurns } from '../base/hash-in-turns.ts'
import { limits } from '../base/limits.ts'
import { takeTurns } from '../base/turns.ts'
import { objectId, parseObject } from './object-format.ts'
import { flattenTreeInTurns, type ObjectTree } from './object-tree.ts'

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
    for (const id of await flattenTreeInTurns(tree)) named.add(id)
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
 * Chooses what travels in one call: of the first messages that fit, each object once. A message travels whole or without
 * objects, except for those that it shares with others. Returns also how many messages were considered: the next one is small
 * enough to travel whole, and there is no room left for it.
 */
export function selectCarried(
  messages: readonly { readonly objects: ReadonlyMap<string, () => Uint8Array>; readonly objectBytesTotal: number }[],
  bytesMax: number,
): { readonly objects: Uint8Array[]; readonly considered: number } {
  const carried = new Map<string, Uint8Array>()
  const room = new CarriedRoom(bytesMax)
  let considered = 0
  for (const { objects, objectBytesTotal } of messages) {
    // Pieces of a large array are copied when they are read.
    if (objects.size <= limits.carriedObjectsMax && objectBytesTotal <= limits.carriedBytesMax) {
      const contents = new Map([...objects].map(([id, read]) => [id, carried.get(id) ?? read()]))
      const fits = room.take(new Map([...contents].map(([id, { length }]) => [id, length])))
      if (fits === 'full') break
      if (fits === 'fits') for (const [id, bytes] of contents) carried.set(id, bytes)
    }
    considered++
  }
  return { objects: [...carried.values()], considered }
}

/** Counts the bytes of the objects that travel in one call. An object that several messages share counts once. */
export class CarriedRoom {
  /** The objects that travel. */
  readonly ids = new Set<string>()
  readonly #bytesMax: number
  bytesTaken = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Takes room for all objects of a message, given with their sizes, unless they are `too-large` or the room is `full`. */
  take(sizes: ReadonlyMap<string, number>): 'fits' | 'too-large' | 'full' {
    let bytes = 0
    let newBytes = 0
    for (const [id, size] of sizes) {
      bytes += size
      if (!this.ids.has(id)) newBytes += size
    }
    if (bytes > limits.carriedBytesMax || sizes.size > limits.carriedObjectsMax) return 'too-large'
    if (this.bytesTaken + newBytes > this.#bytesMax) return this.ids.size === 0 ? 'too-large' : 'full'
    this.bytesTaken += newBytes
    for (const id of sizes.keys()) this.ids.add(id)
    return 'fits'
  }
}

/** Returns objects by their hashes. */
export function byHash(objects: readonly Uint8Array[]): ReadonlyMap<string, Uint8Array> {
  return new Map(objects.map((bytes) => [objectId(bytes), bytes]))
}

/** Cuts objects into pieces for one statement each, so that other work goes on between statements. */
export function* inPieces(objects: readonly CarriedObject[]): Generator<readonly CarriedObject[]> {
  let piece: CarriedObject[] = []
  let bytes = 0
  for (const object of objects) {
    const isFull = piece.length === limits.carriedObjectsMax || bytes + object.bytes.length > pieceBytes
    if (isFull && piece.length > 0) {
      yield piece
      piece = []
      bytes = 0
    }
    piece.push(object)
    bytes += object.bytes.length
  }
  if (piece.length > 0) yield piece
}

const pieceBytes = 1024 * 1024
