import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import { ContextSchema, type ObjectTree } from '../gen/flwr/proto/message_pb.ts'
import type { DeflatedMessage } from '../message/deflate.ts'
import { inflateMessage } from '../message/inflate.ts'
import type { Message } from '../message/message.ts'
import { selectCarried } from '../objects/carried-objects.ts'
import { objectId } from '../objects/object-format.ts'
import { flattenTree } from '../objects/object-tree.ts'
import { pullObjects, pushObjects } from '../objects/transfer.ts'
import type { TaskApi, TaskOutcome } from './task-api.ts'

/** Moves whole messages between an app and its server: their objects, each once, and what goes before and after. */

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

/** Fetches the objects of a message that was handed out, confirms it and puts it together; gives up at the signal. */
export async function fetchMessage(
  route: TaskRoute,
  tree: ObjectTree,
  options: { atHand?: ObjectsAtHand; signal?: AbortSignal; confirm?: (messageId: string) => Promise<void> } = {},
): Promise<Message> {
  const { api, nodeId, runId } = route
  const messageId = tree.objectId
  const { atHand, signal = api.signal } = options
  const confirm =
    options.confirm ?? ((id: string) => api.confirmMessageReceived({ node: { nodeId }, runId, messageObjectId: id }))
  const objects = await fetchObjects(route, flattenTree(tree), signal, atHand)
  await confirm(messageId)
  return inflateMessage(messageId, (id) => objects.get(id) as Uint8Array)
}

/**
 * Fetches the objects of messages that were handed out that are not at hand, and checks that they have the bytes that their
 * ids say.
 */
export async function fetchObjects(
  { api, nodeId, runId }: TaskRoute,
  ids: readonly string[],
  signal: AbortSignal,
  atHand: ObjectsAtHand = noObjects,
): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>()
  for (const id of ids) {
    const bytes = atHand.get(id)
    if (bytes) objects.set(id, bytes)
  }
  const node = { nodeId }
  await pullObjects({
    ids,
    has: (id) => objects.has(id),
    pull: (id) => api.pullObject({ node, runId, objectId: id }, { waitMs: objectWaitMs, signal }),
    write(id, { objectContent: bytes }) {
      if (objectId(bytes) !== id) throw new Error(`Object ${id} arrived with other bytes than its name says.`)
      objects.set(id, bytes)
    },
    sleep: (ms) => systemClock.sleep(ms, signal),
  })
  return objects
}

/**
 * Announces messages, with the objects of small ones if the server takes them along, in as many calls as these need. Then
 * uploads the objects that the server does not have: what several messages share travels once. Returns the message ids, empty
 * for a message that was refused.
 */
export async function sendMessages(
  route: TaskRoute,
  messages: readonly DeflatedMessage[],
  options: SendOptions = {},
): Promise<string[]> {
  const { objectsBytesMax } = route.api
  if (objectsBytesMax === 0) return sendTogether(route, { messages, objects: [], ...options })
  const ids: string[] = []
  for (let sent = 0; sent < messages.length; ) {
    const { objects, considered } = selectCarried(messages.slice(sent), objectsBytesMax)
    const together = { messages: messages.slice(sent, sent + considered), objects, ...options }
    ids.push(...(await sendTogether(route, together)))
    sent += considered
  }
  return ids
}

export interface SendOptions {
  /**
   * Takes an object for settled that the server refuses and does not know. A SuperNode of Flower passes a reply on as soon as
   * it is announced, with the objects that its SuperLink lacks, and then forgets the others, which the app may still be sending.
   * Ours notices at the end of the task whether one is missing.
   */
  readonly mayBePassedOn?: boolean
}

async function sendTogether(
  { api, nodeId, runId }: TaskRoute,
  {
    messages,
    objects,
    mayBePassedOn = false,
  }: SendOptions & { messages: readonly DeflatedMessage[]; objects: Uint8Array[] },
): Promise<string[]> {
  const { messageIds, objectsToPush, sessionId } = await api.pushMessages({
    messagesList: messages.map(({ wire }) => wire),
    messageObjectTrees: messages.map(({ tree }) => tree),
    objects,
  })
  const node = { nodeId }
  const find = (id: string): Uint8Array => {
    for (const { objects } of messages) {
      const bytes = objects.get(id)
      if (bytes) return bytes()
    }
    throw new Error(`The server asks for object ${id}, which is not part of the messages.`)
  }
  await pushObjects({
    ids: objectsToPush,
    read: find,
    push: (id, objectContent) => api.pushObject({ node, runId, objectId: id, objectContent, sessionId }),
    async isStored(id) {
      const { objectFound, objectAvailable } = await api.pullObject({ node, runId, objectId: id }, { waitMs: 0 })
      return objectAvailable || (mayBePassedOn && !objectFound)
    },
  })
  return messageIds
}

/**
 * Ends the task of a ClientApp with its reply: in one call if the reply is small and the server takes it along. Throws if the
 * server refuses the reply.
 */
export async function sendOutput(route: TaskRoute, reply: DeflatedMessage, outcome: TaskOutcome): Promise<void> {
  const { api } = route
  const { objects } = selectCarried([reply], api.objectsBytesMax)
  if (objects.length > 0) return api.finish({ ...outcome, reply: { wire: reply.wire, tree: reply.tree, objects } })
  await sendReply(route, reply)
  await api.finish(outcome)
}

export async function sendReply(route: TaskRoute, reply: DeflatedMessage): Promise<void> {
  const [id] = await sendMessages(route, [reply], { mayBePassedOn: true })
  // SuperNodes of Flower 1.29 name no ids.
  if (id === '') throw new Error('The server refused the reply.')
}

/** What makes a message too large to be sent, as a sentence, or `undefined`. */
export function findOversize({ objects, objectBytesLargest }: DeflatedMessage): string | undefined {
  if (objects.size > limits.objectTreeNodesMax)
    return `it is made of ${objects.size} objects, more than the ${limits.objectTreeNodesMax} that are allowed`
  if (objectBytesLargest > limits.objectBytesMax)
    return `one of its records is ${objectBytesLargest} bytes, more than the ${limits.objectBytesMax} that are allowed (arrays are cut into chunks, other records are not)`
  return undefined
}

/** Why a context cannot be handed over, as a sentence, or `undefined`. */
export function findOversizeState(context: MessageInitShape<typeof ContextSchema>): string | undefined {
  const { length } = toBinary(ContextSchema, create(ContextSchema, context))
  if (length <= limits.contextBytesMax) return undefined
  return `The state of the app (context.state) is too large to be kept: ${length} bytes, more than the ${limits.contextBytesMax} that are allowed.`
}
