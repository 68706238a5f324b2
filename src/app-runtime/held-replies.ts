import {
  fetchChunk,
  fetchObjects,
  fetchWhole,
  noObjects,
  type ObjectsAtHand,
  type TaskRoute,
} from '../app-api/fetch-objects.ts'
import { fetchMessage } from '../app-api/task-messages.ts'
import { systemClock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import { superlinkNodeId } from '../base/ids.ts'
import { type LendMemory, ownMemory } from '../base/lent-memory.ts'
import type { ObjectTree, Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import { parseArray } from '../message/inflate.ts'
import { errorCodes, Message, type MessageError, type Metadata } from '../message/message.ts'
import { type InflatedOutline, inflateOutline, type Outline } from '../message/outline.ts'
import { metadataFromWire } from '../message/wire.ts'
import { byHash } from '../objects/carried-objects.ts'
import { flattenTree } from '../objects/object-tree.ts'
import { ObjectsUnavailableError } from '../objects/transfer.ts'
import { RpcError } from '../rpc/channel.ts'
import { type ArrayPiece, type HeldReply, LostReplyError } from '../sdk/held-reply.ts'

/** A reply as a server offers it: what is known of it before any of its objects is fetched. */
export interface OfferedReply {
  readonly metadata: Metadata
  readonly error: MessageError | undefined
  readonly tree: ObjectTree
  /** Objects that came along. */
  readonly atHand: ObjectsAtHand
}

/** The replies of a response. */
export function offeredReplies(
  response: { messagesList: WireMessage[]; messageObjectTrees: ObjectTree[]; objects: Uint8Array[] },
  runId: bigint,
): OfferedReply[] {
  const { messagesList, messageObjectTrees } = response
  const objects = byHash(response.objects)
  const wires = new Map(messagesList.map((wire) => [wire.metadata?.messageId, wire]))
  return messageObjectTrees.map((tree) => {
    const { metadata, error } = wires.get(tree.objectId) ?? {}
    return {
      metadata: metadata ? metadataFromWire(metadata) : unknownMetadata(runId, tree.objectId),
      error: error && { code: Number(error.code), reason: error.reason },
      tree,
      atHand: objects.size === 0 ? noObjects : partsOf(tree, objects),
    }
  })
}

/** A reply must not keep the objects of others in memory. */
function partsOf(tree: ObjectTree, objects: ObjectsAtHand): ObjectsAtHand {
  return new Map(
    flattenTree(tree).flatMap((id) => {
      const bytes = objects.get(id)
      return bytes ? [[id, bytes] as const] : []
    }),
  )
}

/** Fetches a whole reply and confirms it. If its objects are gone, or do not fit together, it becomes an error reply. */
export async function takeReply(
  reply: OfferedReply,
  options: { route: TaskRoute; confirm: (messageId: string) => Promise<void>; signal: AbortSignal },
): Promise<Message> {
  const { route, confirm, signal } = options
  try {
    return await fetchMessage(route, reply.tree, { atHand: reply.atHand, signal, confirm })
  } catch (error) {
    return new Message(reply.metadata, { error: reasonOf(error, route, signal) })
  }
}

/** Fetches the small objects of a reply. Throws only what ends the run, or the wait for replies. */
export async function holdReply(
  offered: OfferedReply,
  options: { route: TaskRoute; release: (messageId: string) => Promise<void>; signal: AbortSignal },
): Promise<HeldReply> {
  const { route, signal } = options
  if (offered.error) return new ReplyAtServer(offered, nothing, options)
  try {
    const [recordDict] = offered.tree.children
    if (offered.tree.children.length !== 1 || !recordDict)
      throw new TypeError('A message without an error has one RecordDict.')
    const ids = [recordDict.objectId, ...recordDict.children.map(({ objectId }) => objectId)]
    const objects = await fetchObjects(route, ids, signal, offered.atHand)
    const outline = inflateOutline(recordDict.objectId, (id) => objects.get(id) as Uint8Array)
    return new ReplyAtServer(offered, outline, options)
  } catch (error) {
    return new ReplyAtServer({ ...offered, error: reasonOf(error, route, signal) }, nothing, options)
  }
}

const nothing: InflatedOutline = { outline: new Map(), arrayIds: new Map() }

/** A reply whose arrays are fetched when they are needed. It stays at the SuperLink until it is released. */
class ReplyAtServer implements HeldReply {
  readonly metadata: Metadata
  readonly error: MessageError | undefined
  readonly outline: Outline
  readonly #arrayIds: InflatedOutline['arrayIds']
  readonly #tree: ObjectTree
  #atHand: ObjectsAtHand
  readonly #route: TaskRoute
  readonly #release: (messageId: string) => Promise<void>

  constructor(
    { metadata, error, tree, atHand }: OfferedReply,
    { outline, arrayIds }: InflatedOutline,
    options: { route: TaskRoute; release: (messageId: string) => Promise<void> },
  ) {
    this.metadata = metadata
    this.error = error
    this.outline = outline
    this.#arrayIds = arrayIds
    this.#tree = tree
    this.#atHand = atHand
    this.#route = options.route
    this.#release = options.release
  }

  async load(signal: AbortSignal): Promise<Message> {
    if (this.error) return new Message(this.metadata, { error: this.error })
    try {
      return (await fetchWhole(this.#route, this.#tree, signal, this.#atHand))()
    } catch (error) {
      return this.#lost(error, signal)
    }
  }

  async pieces(signal: AbortSignal): Promise<ArrayPiece[]> {
    try {
      const [arrayIds = new Map<string, string>()] = this.#arrayIds.values()
      const objects = await fetchObjects(this.#route, [...new Set(arrayIds.values())], signal, this.#atHand)
      return [...arrayIds].flatMap(([name, arrayId]) => {
        const { stype, chunkIds } = parseArray(arrayId, (id) => objects.get(id) as Uint8Array)
        const load = inRuns(chunkIds, (...chunk) => this.#loadChunk(...chunk))
        return chunkIds.map((_, index) => ({
          name,
          stype,
          isFirst: index === 0,
          isLast: index === chunkIds.length - 1,
          load: (signal: AbortSignal, lend?: LendMemory) => load(index, signal, lend),
        }))
      })
    } catch (error) {
      throw new LostReplyError(this, this.#lost(error, signal))
    }
  }

  release(): Promise<void> {
    this.#atHand = noObjects
    return this.#release(this.#tree.objectId)
  }

  async #loadChunk(id: string, signal: AbortSignal, lend: LendMemory): Promise<Uint8Array> {
    try {
      return await fetchChunk(this.#route, id, signal, { atHand: this.#atHand, lend })
    } catch (error) {
      throw new LostReplyError(this, this.#lost(error, signal))
    }
  }

  #lost(error: unknown, signal: AbortSignal): Message {
    return new Message(this.metadata, { error: reasonOf(error, this.#route, signal) })
  }
}

/**
 * Loads equal neighbours once: long stretches of an array may be the same chunk, e.g. of zeros. Their memory is not lent, because
 * the first one of them is through with it before the others are.
 */
function inRuns<T>(
  ids: readonly string[],
  load: (id: string, signal: AbortSignal, lend: LendMemory) => Promise<T>,
): (index: number, signal: AbortSignal, lend?: LendMemory) => Promise<T> {
  let loading: { readonly id: string; readonly result: Promise<T> } | undefined
  return (index, signal, lend = ownMemory) => {
    const id = ids[index] as string
    const isShared = ids[index + 1] === id
    const result = loading?.id === id ? loading.result : load(id, signal, isShared ? ownMemory : lend)
    loading = isShared ? { id, result } : undefined
    return result
  }
}

/** Why a reply cannot be read. Throws what is no fault of the reply. */
function reasonOf(error: unknown, { api }: TaskRoute, signal: AbortSignal): MessageError {
  if (error instanceof RpcError || signal.aborted || api.signal.aborted) throw error
  const gone = error instanceof ObjectsUnavailableError
  const reason = gone ? 'Reply message objects are unavailable.' : 'The reply message cannot be read.'
  return { code: errorCodes.messageUnavailable, reason: `${reason} ${errorText(error)}` }
}

/** Of a reply whose tree comes without a message. */
function unknownMetadata(runId: bigint, messageId: string): Metadata {
  return {
    runId,
    messageId,
    srcNodeId: superlinkNodeId,
    dstNodeId: superlinkNodeId,
    replyToMessageId: '',
    groupId: '',
    ttl: 0,
    messageType: 'system',
    createdAt: systemClock.now() / 1000,
  }
}
