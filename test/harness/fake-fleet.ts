import { create, type DescMethodUnary, type MessageShape } from '@bufbuild/protobuf'
import { Bell, lookAgain } from '../../src/base/bell.ts'
import type { NodeId, RunId } from '../../src/base/ids.ts'
import { GetFabResponseSchema } from '../../src/gen/flwr/proto/fab_pb.ts'
import {
  PullMessagesResponseSchema,
  type PushMessagesRequestSchema,
  PushMessagesResponseSchema,
} from '../../src/gen/flwr/proto/fleet_pb.ts'
import {
  ConfirmMessageReceivedResponseSchema,
  type ObjectTree,
  PullObjectResponseSchema,
  PushObjectResponseSchema,
  type MessageSchema as WireMessageSchema,
} from '../../src/gen/flwr/proto/message_pb.ts'
import { GetRunResponseSchema } from '../../src/gen/flwr/proto/run_pb.ts'
import { deflateMessage } from '../../src/message/deflate.ts'
import type { Message } from '../../src/message/message.ts'
import { objectId } from '../../src/objects/object-format.ts'
import { flattenTree } from '../../src/objects/object-tree.ts'
import { RpcError } from '../../src/rpc/rpc-error.ts'
import { fleet } from '../../src/supernode/fleet.ts'

type WireMessage = MessageShape<typeof WireMessageSchema>

export const nodeId = 9n as NodeId
/** How long a test waits for what the SuperNode does by itself before it reports what has not happened. */
export const patienceMs = 20_000

/** What the requests of a SuperNode hold. */
type FleetRequest = Partial<MessageShape<typeof PushMessagesRequestSchema>> & {
  runId?: bigint
  objectId?: string
  messageObjectId?: string
}

/** The SuperLink of one node, in memory: it hands out what a test queues, and keeps the replies. */
export class FakeFleet {
  readonly nodeId = nodeId
  readonly redelivers = true
  readonly replies: WireMessage[] = []
  readonly confirmed: string[] = []
  /** Requests by method. */
  readonly calls = new Map<string, number>()
  /** How many bytes of objects may travel with a message, in either direction: none at SuperLinks of Flower. */
  objectsBytesMax = 0
  /** Called after a request has been accepted and before it is responded to; tests delay it or make it fail. */
  beforeResponse: (method: unknown, request: FleetRequest) => Promise<void> = async () => {}
  /** Where responses say that the node stands in the list of ended runs. */
  endedRunsSeen = 1n
  /** Runs of which this SuperLink knows nothing any more. */
  readonly ended = new Set<bigint>()
  readonly #queue: { wire: WireMessage; tree: ObjectTree }[] = []
  readonly #objects = new Map<string, Uint8Array>()
  readonly #news: RunId[] = []
  readonly #bell = new Bell<'fleet'>()
  readonly #fab: { hash: string; bytes: Uint8Array }
  readonly #signal: AbortSignal
  readonly #progress: () => string

  /** `progress` describes the state of the SuperNode, for the report of a test that has waited in vain. */
  constructor(fab: { hash: string; bytes: Uint8Array }, signal: AbortSignal, progress: () => string) {
    this.#fab = fab
    this.#signal = signal
    this.#progress = progress
  }

  offer(message: Message): void {
    const { wire, tree, objects } = deflateMessage(message)
    for (const [id, read] of objects) this.#objects.set(id, read())
    this.#queue.push({ wire: wire as WireMessage, tree })
    this.#bell.ring('fleet')
  }

  endRun(runId: RunId): void {
    this.ended.add(runId)
    this.#news.push(runId)
    this.#bell.ring('fleet')
  }

  /** Resolves when so many replies have arrived. */
  async replied(count: number): Promise<void> {
    const look = async () => (this.replies.length >= count ? true : undefined)
    if (await lookAgain(this.#bell, 'fleet', look, { waitMs: patienceMs, signal: this.#signal })) return
    throw new Error(`${this.replies.length} of ${count} replies have arrived. ${this.#progress()}`)
  }

  async call(
    method: DescMethodUnary,
    request: FleetRequest,
    { signal = this.#signal }: { signal?: AbortSignal } = {},
  ): Promise<{ message: unknown; waited: boolean }> {
    this.calls.set(method.localName, (this.calls.get(method.localName) ?? 0) + 1)
    const { runId = 0n, messageObjectId = '' } = request
    if (this.ended.has(runId)) throw new RpcError('permission-denied', 'Run ended', { kind: 'peer' })
    await this.beforeResponse(method, request)
    const found = this.#objects.get(request.objectId ?? '')
    switch (method) {
      case fleet.pullMessages: {
        const look = async () => {
          const instruction = this.#queue.shift()
          return instruction || this.#news.length > 0 ? { instruction } : undefined
        }
        const next = await lookAgain(this.#bell, 'fleet', look, { waitMs: 60_000, signal })
        signal.throwIfAborted()
        const instruction = next?.instruction
        const message = create(PullMessagesResponseSchema, {
          messagesList: instruction ? [instruction.wire] : [],
          messageObjectTrees: instruction ? [instruction.tree] : [],
          endedRunIds: this.#news.splice(0),
          endedRunsSeen: this.endedRunsSeen,
          objectsBytesMax: this.objectsBytesMax,
          objects: instruction && this.objectsBytesMax > 0 ? this.#objectsOf(instruction.tree) : [],
        })
        return { message, waited: true }
      }
      case fleet.getRun:
        return answered(create(GetRunResponseSchema, { run: { runId, fabHash: this.#fab.hash, seriesId: runId } }))
      case fleet.getFab:
        return answered(create(GetFabResponseSchema, { fab: { hashStr: this.#fab.hash, content: this.#fab.bytes } }))
      case fleet.pullObject:
        return answered(
          create(PullObjectResponseSchema, {
            objectFound: found !== undefined,
            objectAvailable: found !== undefined,
            ...(found ? { objectContent: found } : {}),
          }),
        )
      case fleet.confirmMessageReceived:
        this.confirmed.push(messageObjectId)
        return answered(create(ConfirmMessageReceivedResponseSchema))
      case fleet.pushObject:
        return answered(create(PushObjectResponseSchema, { stored: true }))
      case fleet.pushMessages: {
        const { messagesList, messageObjectTrees, objects } = request as unknown as MessageShape<
          typeof PushMessagesRequestSchema
        >
        this.replies.push(...messagesList)
        this.#bell.ring('fleet')
        const results = Object.fromEntries(messagesList.map(({ metadata }) => [metadata?.messageId ?? '', 0]))
        const carried = new Set(objects.map(objectId))
        const objectsToPush = messageObjectTrees.flatMap(flattenTree).filter((id) => !carried.has(id))
        return answered(create(PushMessagesResponseSchema, { results, objectsToPush }))
      }
    }
    throw new Error('The SuperNode asks for something that this SuperLink does not have.')
  }

  #objectsOf(tree: ObjectTree): Uint8Array[] {
    return flattenTree(tree).map((id) => this.#objects.get(id) as Uint8Array)
  }
}

const answered = (message: unknown) => ({ message, waited: false })
