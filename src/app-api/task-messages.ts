import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { limits } from '../base/limits.ts'
import { ContextSchema, type ObjectTree } from '../gen/flwr/proto/message_pb.ts'
import type { DeflatedMessage } from '../message/deflate.ts'
import type { Message } from '../message/message.ts'
import { selectCarried } from '../objects/carried-objects.ts'
import { pushObjects } from '../objects/transfer.ts'
import { lengthOf } from '../rpc/encode-in-turns.ts'
import { withObject } from '../rpc/object-content.ts'
import { fetchWhole, type ObjectsAtHand, type TaskRoute } from './fetch-objects.ts'
import { leaveObject } from './leave-object.ts'
import type { TaskOutcome } from './task-api.ts'

/** Moves whole messages between an app and its server: their objects, each once, and what goes before and after. */

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
  const inflate = await fetchWhole(route, tree, signal, atHand)
  await confirm(messageId)
  return inflate()
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

/** What a server keeps in a file. */
function isLarge(content: Uint8Array | readonly Uint8Array[]): content is readonly Uint8Array[] {
  return !(content instanceof Uint8Array) && lengthOf(content) > limits.objectInMemoryBytesMax
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
  const { messageIds, objectsToPush, sessionId, objectFolder } = await api.pushMessages({
    messagesList: messages.map(({ wire }) => wire),
    messageObjectTrees: messages.map(({ tree }) => tree),
    objects,
    leavesFiles: api.objectsBytesMax > 0,
  })
  let folder = objectFolder === '' ? undefined : objectFolder
  const node = { nodeId }
  const find = (id: string): Uint8Array | readonly Uint8Array[] => {
    for (const { objects, chunks } of messages) {
      const content = chunks.get(id) ?? objects.get(id)?.()
      if (content) return content
    }
    throw new Error(`The server asks for object ${id}, which is not part of the messages.`)
  }
  await pushObjects({
    ids: objectsToPush,
    read: find,
    async push(id, content) {
      const about = { node, runId, objectId: id, sessionId }
      // Several objects are sent at a time, and another one may find meanwhile that the folder is of no use.
      const place = folder
      if (place !== undefined && isLarge(content) && (await leaveObject(place, id, content))) {
        const { stored, fileMissing } = await api.pushObject({ ...about, inFile: true })
        if (!fileMissing) return stored
        // The server has been restarted, or this folder is not the one that it means.
        await rm(join(place, id), { force: true })
        folder = undefined
      }
      return (await api.pushObject(withObject(about, content))).stored
    },
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
