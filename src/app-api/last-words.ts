import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { PushAppIoMessagesRequestSchema } from '../gen/flwr/proto/appio_pb.ts'
import { ContextSchema, type ObjectTree, type Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import type { TaskApi } from './task-api.ts'

/**
 * What a SuperExec says in the name of a ClientApp process that died: the error reply to its message, made ready while it
 * lived. Python's SuperNodes need it: they report a dead ClientApp to the ServerApp after a minute (1.41) or never (1.29).
 * Base64, for the channel between the processes.
 */
export interface LastWords {
  readonly reply: string
  readonly objects: readonly (readonly [id: string, bytes: string])[]
  readonly context: string
}

/** Checks what a process that runs code of an app has sent. */
export function isLastWords(value: unknown): value is LastWords {
  const { reply, objects, context } = (typeof value === 'object' && value ? value : {}) as Record<string, unknown>
  const isObject = (one: unknown): boolean =>
    Array.isArray(one) && one.length === 2 && one.every((part) => typeof part === 'string')
  return typeof reply === 'string' && typeof context === 'string' && Array.isArray(objects) && objects.every(isObject)
}

export function writeLastWords(
  reply: {
    readonly wire: WireMessage
    readonly tree: ObjectTree
    readonly objects: ReadonlyMap<string, () => Uint8Array>
  },
  context: MessageInitShape<typeof ContextSchema>,
): LastWords {
  const { wire, tree, objects } = reply
  const request = create(PushAppIoMessagesRequestSchema, { messagesList: [wire], messageObjectTrees: [tree] })
  return {
    reply: base64(toBinary(PushAppIoMessagesRequestSchema, request)),
    objects: [...objects].map(([id, read]) => [id, base64(read())] as const),
    context: base64(toBinary(ContextSchema, create(ContextSchema, context))),
  }
}

/** Sends them, and ends the task. Throws a TaskEndedError when the app had said all itself. */
export async function speakLastWords(api: TaskApi, words: LastWords, details: string): Promise<void> {
  const { messagesList, messageObjectTrees } = fromBinary(PushAppIoMessagesRequestSchema, bytes(words.reply))
  const context = fromBinary(ContextSchema, bytes(words.context))
  const { sessionId } = await api.pushMessages({ messagesList, messageObjectTrees })
  const { nodeId, runId } = context
  for (const [objectId, content] of words.objects)
    await api.pushObject({ node: { nodeId }, runId, objectId, objectContent: bytes(content), sessionId })
  await api.finish({ context, subStatus: 'failed', details })
}

function base64(data: Uint8Array): string {
  return Buffer.from(data).toString('base64')
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'base64')
}
