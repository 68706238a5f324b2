import { type FileHandle, open } from 'node:fs/promises'
import { systemClock } from '../base/clock.ts'
import type { LendMemory } from '../base/lent-memory.ts'
import type { ObjectTree } from '../gen/flwr/proto/message_pb.ts'
import { ArrivingArrays, ChunkSink, type ChunkTarget } from '../message/arriving-arrays.ts'
import { readChunkFile } from '../message/chunk-file.ts'
import { inflateMessage, parseArray, parseChunk } from '../message/inflate.ts'
import type { Message } from '../message/message.ts'
import { objectId } from '../objects/object-format.ts'
import { flattenTree } from '../objects/object-tree.ts'
import { pullObjects } from '../objects/transfer.ts'
import type { TaskApi } from './task-api.ts'

/** Fetches objects of messages that were handed out to an app, and checks that they have the bytes that their ids say. */

export interface TaskRoute {
  readonly api: TaskApi
  readonly nodeId: bigint
  readonly runId: bigint
}

/** Objects that came with messages, by their hashes. */
export type ObjectsAtHand = ReadonlyMap<string, Uint8Array>

export const noObjects: ObjectsAtHand = new Map()

/** How long the server may hold a call for an object that is still on its way to it. */
const objectWaitMs = 20_000

/** Fetches all objects of a message. Returns a function that puts it together. */
export async function fetchWhole(
  route: TaskRoute,
  tree: ObjectTree,
  signal: AbortSignal,
  atHand: ObjectsAtHand = noObjects,
): Promise<() => Message> {
  const { objectId: messageId } = tree
  if (flattenTree(tree).every((id) => atHand.has(id)))
    return () => inflateMessage(messageId, (id) => atHand.get(id) as Uint8Array)
  const objects = await fetchObjects(route, idsAboveChunks(tree), signal, atHand)
  const arrays = new ArrivingArrays(chunksOf(tree, objects))
  await pull(route, arrays.chunkIds, signal, {
    has(id) {
      const bytes = atHand.get(id)
      if (bytes) arrays.put(id, bytes)
      return arrays.has(id)
    },
    write: (id, bytes) => arrays.put(id, bytes),
    targetFor: (id) => arrays.targetFor(id),
  })
  return () =>
    inflateMessage(
      messageId,
      (id) => objects.get(id) as Uint8Array,
      (id) => arrays.find(id),
    )
}

/** Fetches objects that are not at hand. */
export async function fetchObjects(
  route: TaskRoute,
  ids: readonly string[],
  signal: AbortSignal,
  atHand: ObjectsAtHand = noObjects,
): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>()
  for (const id of ids) {
    const bytes = atHand.get(id)
    if (bytes) objects.set(id, bytes)
  }
  await pull(route, ids, signal, { has: (id) => objects.has(id), write: (id, bytes) => void objects.set(id, bytes) })
  return objects
}

/** Fetches one chunk of an array, unless it is at hand, and returns its bytes without its head: in lent memory if it is large. */
export async function fetchChunk(
  route: TaskRoute,
  id: string,
  signal: AbortSignal,
  { atHand, lend }: { atHand: ObjectsAtHand; lend: LendMemory },
): Promise<Uint8Array> {
  const known = atHand.get(id)
  let body = known && parseChunk(known)
  await pull(route, [id], signal, {
    has: () => body !== undefined,
    write(_id, bytes) {
      body = parseChunk(bytes)
    },
    targetFor: () => ({
      open: lend,
      onComplete(bytes) {
        body = bytes
      },
    }),
  })
  return body as Uint8Array
}

interface PullTarget {
  has(id: string): boolean
  write(id: string, bytes: Uint8Array): void
  /** For chunks: a large one is written to its place while it arrives. */
  targetFor?(id: string): ChunkTarget
}

/** Fetches the objects that the target does not have. */
function pull(route: TaskRoute, ids: readonly string[], signal: AbortSignal, target: PullTarget): Promise<void> {
  return pullObjects({
    ids,
    has: target.has,
    pull: (id) => pullOne(route, id, signal, target),
    write(id, { objectContent: bytes }) {
      if (target.has(id)) return
      if (objectId(bytes) !== id) throw new Error(`Object ${id} arrived with other bytes than its name says.`)
      target.write(id, bytes)
    },
    sleep: (ms) => systemClock.sleep(ms, signal),
  })
}

/** Servers whose files this process cannot open, e.g. because they are in another container. */
const servedElsewhere = new WeakSet<TaskApi>()

/** Asks for an object. A server on this machine may name a file with a large chunk, which is read from there. */
async function pullOne({ api, nodeId, runId }: TaskRoute, id: string, signal: AbortSignal, target: PullTarget) {
  const { targetFor } = target
  const request = { node: { nodeId }, runId, objectId: id }
  const options = {
    ...{ waitMs: objectWaitMs, signal },
    ...(targetFor ? { sinkFor: (length: number) => new ChunkSink(id, length, targetFor(id)) } : {}),
  }
  const takesFile = targetFor !== undefined && api.objectsBytesMax > 0 && !servedElsewhere.has(api)
  const pulled = await api.pullObject({ ...request, takesFile }, options)
  if (!takesFile || !pulled.objectFile) return pulled
  const file = await openFile(pulled.objectFile)
  if (!file) {
    servedElsewhere.add(api)
    return api.pullObject(request, options)
  }
  try {
    await readChunkFile(id, file, targetFor(id))
  } finally {
    await file.close()
  }
  return pulled
}

/** The file may be out of reach, or gone with its message. */
async function openFile(path: string): Promise<FileHandle | undefined> {
  return open(path, 'r').catch(() => undefined)
}

function arraysIn(message: ObjectTree): ObjectTree[] {
  return message.children.flatMap(({ children: records }) => records.flatMap(({ children }) => children))
}

/** All ids but those of the chunks of arrays: these are the children of the arrays. */
function idsAboveChunks(message: ObjectTree): string[] {
  const records = message.children.flatMap(({ children }) => children)
  return [...new Set([...arraysIn(message), ...records, ...message.children, message].map(({ objectId: id }) => id))]
}

function chunksOf(message: ObjectTree, objects: ObjectsAtHand): Map<string, readonly string[]> {
  const chunks = new Map<string, readonly string[]>()
  for (const { objectId: arrayId } of arraysIn(message)) {
    try {
      chunks.set(arrayId, parseArray(arrayId, (id) => objects.get(id) as Uint8Array).chunkIds)
    } catch {
      // The message cannot be put together: that is told when it is tried.
    }
  }
  return chunks
}
