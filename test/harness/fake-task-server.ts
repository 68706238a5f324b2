import { create } from '@bufbuild/protobuf'
import type { InputWishes, TaskApi, TaskEvent, TaskInput, TaskOutcome } from '../../src/app-api/task-api.ts'
import { FabSchema } from '../../src/gen/flwr/proto/fab_pb.ts'
import { MessageSchema, type ObjectTree } from '../../src/gen/flwr/proto/message_pb.ts'
import { NodeInfoSchema } from '../../src/gen/flwr/proto/node_pb.ts'
import { RunSchema } from '../../src/gen/flwr/proto/run_pb.ts'
import { createContext } from '../../src/message/context.ts'
import { deflateMessage } from '../../src/message/deflate.ts'
import { inflateMessage } from '../../src/message/inflate.ts'
import { Message } from '../../src/message/message.ts'
import { RecordDict } from '../../src/message/records.ts'
import { contextToWire } from '../../src/message/wire.ts'
import { objectId } from '../../src/objects/object-format.ts'
import { flattenTree } from '../../src/objects/object-tree.ts'

type Wire = Parameters<TaskApi['pushMessages']>[0]['messagesList'][number]
type Method = Exclude<keyof TaskApi, 'signal'>

const run = { runId: 5n, nodeId: 9n }

/** The server of one task, in memory: it hands out messages, takes messages, and fails where a test says so. */
export class FakeTaskServer {
  readonly #stop = new AbortController()
  readonly #objects = new Map<string, Uint8Array>()
  readonly #outgoing: { wire: Wire; tree: ObjectTree }[] = []
  readonly #pushed: { id: string; tree: ObjectTree }[] = []
  /** Calls that fail: by method, one error for each call from the first on; `undefined` lets a call through. */
  readonly failures: Partial<Record<Method, (Error | undefined)[]>> = {}
  /** Every call in its order. */
  readonly calls: Method[] = []
  readonly confirmed: string[] = []
  readonly events: TaskEvent[] = []
  /** Called when the task has ended. */
  onFinished = (): void => {}
  /** How the task ended, once it has. */
  outcome: TaskOutcome | undefined
  state = new RecordDict()
  /** What the task runs. */
  app = { fabId: 'test/app', fabVersion: '1.0.0', hashStr: 'fab', content: Buffer.from('the app') }
  /** How many bytes of objects may travel with messages: none at servers of Flower. */
  objectsBytesMax = 0
  /** The ids that the server names for pushed messages; Flower 1.29's SuperNode names none. */
  idsOf = (messageIds: string[]): string[] => messageIds
  /** Runs before the content of an object is handed out. */
  beforeObject: (signal: AbortSignal) => Promise<void> = async () => {}
  readonly api = this.#createApi()

  /** Makes a message that the task can pull; its objects are here unless `without` says so. */
  offer(message: Message, { without = false } = {}): string {
    const { wire, tree, objects, messageId } = deflateMessage(message, { ...message.metadata, ...run })
    if (!without) for (const [id, read] of objects) this.#objects.set(id, read())
    this.#outgoing.push({ wire, tree })
    return messageId
  }

  /** Offers a reply to each message that was pushed, as its node would send it. */
  reply(content = new RecordDict()): void {
    for (const message of this.pushed) this.offer(message.reply(content))
  }

  /** The messages that were pushed whole. */
  get pushed(): Message[] {
    const isWhole = ({ tree }: { tree: ObjectTree }): boolean => flattenTree(tree).every((id) => this.#objects.has(id))
    return this.#pushed
      .filter(isWhole)
      .map(({ id }) => inflateMessage(id, (part) => this.#objects.get(part) as Uint8Array))
  }

  /** A message was replied to: the next one is handed out. */
  forget(message: Message): void {
    const { messageId } = deflateMessage(message, { ...message.metadata, ...run })
    const index = this.#outgoing.findIndex(({ tree }) => tree.objectId === messageId)
    if (index >= 0) this.#outgoing.splice(index, 1)
  }

  stop(): void {
    this.#stop.abort()
  }

  #createApi(): TaskApi {
    const call = async <T>(method: Method, work: () => T | Promise<T>): Promise<T> => {
      this.calls.push(method)
      const failure = this.failures[method]?.shift()
      if (failure) throw failure
      return work()
    }
    const { signal } = this.#stop
    const server = this
    const api = {
      signal,
      get objectsBytesMax() {
        return server.objectsBytesMax
      },
      pullInput: ({ objectsBytesMax = 0 }: InputWishes = {}) =>
        call('pullInput', () => ({ ...this.#input(), ...this.#messageAlong(objectsBytesMax) })),
      pullWholeInput: ({ objectsBytesMax = 0, fabHash }: InputWishes) =>
        call('pullWholeInput', () => {
          const along = this.#messageAlong(objectsBytesMax)
          return along.message ? { ...this.#input(fabHash), ...along } : undefined
        }),
      sendHeartbeat: () => call('sendHeartbeat', () => ({ success: true, waited: false })),
      pullMessages: (
        ids: string[] | undefined,
        { wantsAll = ids === undefined, objectsBytesMax = 0 }: { wantsAll?: boolean; objectsBytesMax?: number } = {},
      ) =>
        call('pullMessages', () => {
          const ready = this.#outgoing.filter(
            ({ wire }) => wantsAll || ids?.includes(wire.metadata?.replyToMessageId ?? ''),
          )
          return {
            messagesList: ready.map(({ wire }) => wire),
            messageObjectTrees: ready.map(({ tree }) => tree),
            objects: objectsBytesMax === 0 ? [] : ready.flatMap(({ tree }) => this.#contentsOf(tree)),
            waited: true,
          }
        }),
      pushMessages: ({ messagesList, messageObjectTrees, objects = [] }: Parameters<TaskApi['pushMessages']>[0]) =>
        call('pushMessages', () => {
          const messageIds = messagesList.map(({ metadata }) => metadata?.messageId ?? '')
          for (const bytes of objects) this.#objects.set(objectId(bytes), bytes)
          const named = messageObjectTrees.flatMap(flattenTree)
          const objectsToPush = objects.length === 0 ? named : named.filter((id) => !this.#objects.has(id))
          messageIds.forEach((id, index) => {
            this.#pushed.push({ id, tree: messageObjectTrees[index] as ObjectTree })
          })
          return { messageIds: this.idsOf(messageIds), objectsToPush, sessionId: 's' }
        }),
      pushObject: ({
        objectId: id = '',
        objectContent = new Uint8Array(),
      }: {
        objectId?: string
        objectContent?: Uint8Array
      }) =>
        call('pushObject', () => {
          this.#objects.set(id, objectContent)
          return { stored: true, fileMissing: false }
        }),
      pullObject: ({ objectId: id = '' }, callOptions: { signal?: AbortSignal } = {}) =>
        call('pullObject', async () => {
          const limit = callOptions.signal ?? signal
          await this.beforeObject(limit)
          limit.throwIfAborted()
          const objectContent = this.#objects.get(id)
          return { objectFound: objectContent !== undefined, objectAvailable: true, objectContent, waited: true }
        }),
      confirmMessageReceived: ({ messageObjectId = '', moreMessageObjectIds = [] as string[] }) =>
        call('confirmMessageReceived', () => {
          for (const id of [messageObjectId, ...moreMessageObjectIds]) {
            this.confirmed.push(id)
            const index = this.#outgoing.findIndex(({ tree }) => tree.objectId === id)
            this.#outgoing.splice(index, 1)
          }
        }),
      getNodes: () => call('getNodes', () => [create(NodeInfoSchema, { nodeId: run.nodeId })]),
      pushLogs: () => call('pushLogs', () => {}),
      pushEvents: (events: readonly TaskEvent[]) => call('pushEvents', () => void this.events.push(...events)),
      finish: ({ reply, ...outcome }: TaskOutcome) =>
        call('finish', () => {
          this.outcome = outcome
          for (const bytes of reply?.objects ?? []) this.#objects.set(objectId(bytes), bytes)
          if (reply) this.#pushed.push({ id: reply.tree.objectId, tree: reply.tree })
          this.onFinished()
        }),
    }
    return api as unknown as TaskApi
  }

  #input(knownFab = ''): TaskInput {
    const { fabId, fabVersion, hashStr, content } = this.app
    return {
      context: contextToWire(createContext({ ...run, seriesId: 0n, state: this.state })),
      run: create(RunSchema, { runId: run.runId, fabId, fabVersion }),
      fab: create(FabSchema, { hashStr, ...(knownFab === hashStr ? {} : { content }) }),
      taskId: 1n,
    }
  }

  /** The first message, as our servers send it with the input of a ClientApp. */
  #messageAlong(bytesMax: number): Pick<TaskInput, 'message'> {
    const [first] = this.#outgoing
    if (!first || this.objectsBytesMax === 0) return {}
    const objects = this.#contentsOf(first.tree)
    const bytes = objects.reduce((sum, { length }) => sum + length, 0)
    if (bytes > bytesMax) return {}
    return { message: { wire: create(MessageSchema, first.wire), tree: first.tree, objects } }
  }

  #contentsOf(tree: ObjectTree): Uint8Array[] {
    return flattenTree(tree).flatMap((id) => this.#objects.get(id) ?? [])
  }
}

/** A message to the node of a fake task. */
export function instructionFor(content = new RecordDict()): Message {
  const message = Message.create({ content, messageType: 'query', dstNodeId: run.nodeId, ttl: 60 })
  return new Message({ ...message.metadata, runId: run.runId, srcNodeId: 1n }, { content })
}
