import type { ClientHttp2Session } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { superlinkNodeId } from '../../src/base/ids.ts'
import { limits } from '../../src/base/limits.ts'
import { Fleet, type PullMessagesResponse } from '../../src/gen/flwr/proto/fleet_pb.ts'
import type { ObjectTree, Message as WireMessage } from '../../src/gen/flwr/proto/message_pb.ts'
import { type NodeKey, signNodeCall } from '../../src/identity/node-key.ts'
import { deflateMessage } from '../../src/message/deflate.ts'
import { Message } from '../../src/message/message.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../src/message/records.ts'
import { metadataFromWire } from '../../src/message/wire.ts'
import { selectCarried } from '../../src/objects/carried-objects.ts'
import { flattenTree } from '../../src/objects/object-tree.ts'
import type { FleetCounts } from './fleet-counts.ts'
import { CallLostError, call, openSession, type Peer } from './grpc-calls.ts'
import type { MessageTransport } from './simulated-fleet.ts'

const fleet = Fleet.method
const heartbeatIntervalSeconds = 30
const heldMs = 25_000
const answerMs = 30_000
const transfersAtOnce = 4
const objectPauseMs = 500
const floats = 1024
const joinTriesMax = 60

export interface SimulatedNodeOptions {
  readonly index: number
  readonly peer: Peer
  readonly publicKey: Uint8Array
  /** Signs its calls, where it shows no certificate. */
  readonly key?: NodeKey
  /** How long it waits after a response without a message. */
  readonly pollPauseMs: number
  readonly messages: MessageTransport
  readonly counts: FleetCounts
  readonly signal: AbortSignal
}

/**
 * A SuperNode without an app: holds PullMessages, beats, fetches each object, confirms, and replies with one float32 array of
 * 4 KB and `num-examples`, by the calls that Flower's SuperNodes make or by those of ours.
 */
export class SimulatedNode {
  readonly #index: number
  readonly #peer: Peer
  readonly #publicKey: Uint8Array
  readonly #counts: FleetCounts
  readonly #signal: AbortSignal
  readonly #pollPauseMs: number
  readonly #objectsBytesMax: number
  readonly #signed: SignedHeaders | undefined
  readonly #knownRuns = new Set<bigint>()
  #session: ClientHttp2Session | undefined
  #nodeId = 0n
  /** When it last sent a pull, if the SuperLink takes pulls for heartbeats; 0 if not. */
  #pullCountedAt = 0
  #vanishes = false

  constructor(options: SimulatedNodeOptions) {
    this.#index = options.index
    this.#peer = options.peer
    this.#publicKey = options.publicKey
    this.#counts = options.counts
    this.#signal = options.signal
    this.#pollPauseMs = options.pollPauseMs
    this.#objectsBytesMax = options.messages === 'whole' ? limits.carriedBytesMax : 0
    this.#signed = options.key && new SignedHeaders(options.key)
  }

  /** Connects and comes online. Waits as long as the SuperLink says if it is busy. */
  async join(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        this.#session?.destroy()
        this.#session = await openSession(this.#peer, answerMs)
        const options = { timeoutMs: answerMs, headers: await this.#headers() }
        await call(this.#session, fleet.registerNode, { publicKey: this.#publicKey }, options)
        const request = { publicKey: this.#publicKey, heartbeatInterval: heartbeatIntervalSeconds }
        this.#nodeId = (await call(this.#session, fleet.activateNode, request, options)).nodeId
        return
      } catch (error) {
        if (!(error instanceof CallLostError) || tries === joinTriesMax || this.#signal.aborted) throw error
        this.#counts.joinedAgain()
        await delay(error.retryAfterMs ?? 1000 + (this.#index % 1000))
      }
    }
  }

  /** Cuts its connection when it receives its next message, and stays away. */
  vanish(): void {
    this.#vanishes = true
  }

  /** Works until the signal. Comes back when its connection is lost. */
  async work(): Promise<void> {
    await Promise.all([this.#beat(), this.#receive()])
    this.#session?.destroy()
  }

  async #comeBack(): Promise<void> {
    if (!this.#session?.destroyed && !this.#session?.closed) return
    await this.join()
    this.#counts.joined()
  }

  get #node() {
    return { nodeId: this.#nodeId }
  }

  /** As our SuperNodes: a pull that was taken for a heartbeat saves the next one. */
  async #beat(): Promise<void> {
    const intervalMs = heartbeatIntervalSeconds * 1000
    let beatAt = Date.now()
    while (!this.#signal.aborted) {
      const restMs = Math.max(beatAt, this.#pullCountedAt) + intervalMs - Date.now()
      await delay(Math.max(restMs, 0), undefined, { signal: this.#signal }).catch(() => {})
      if (this.#pullCountedAt + intervalMs > Date.now()) continue
      beatAt = Date.now()
      if (this.#signal.aborted || this.#session?.destroyed) continue
      const beat = { node: this.#node, heartbeatInterval: heartbeatIntervalSeconds }
      if (await this.#call(fleet.sendNodeHeartbeat, beat)) this.#counts.waited()
    }
  }

  async #receive(): Promise<void> {
    let responseLost = false
    while (!this.#signal.aborted) {
      const pulled = await this.#pull(responseLost)
      responseLost = pulled === undefined
      const [wire] = pulled?.messagesList ?? []
      const [tree] = pulled?.messageObjectTrees ?? []
      if (pulled && !wire) this.#counts.waited()
      if (pulled && this.#vanishes && wire) return this.#session?.destroy()
      if (wire?.metadata && tree) {
        this.#counts.received(Date.now() - wire.metadata.createdAt * 1000)
        await this.#execute(wire, tree, pulled?.objects ?? [])
      } else if (!this.#signal.aborted) {
        await delay(pulled ? this.#pollPauseMs : 1000)
        await this.#comeBack()
      }
    }
  }

  async #pull(responseLost: boolean): Promise<PullMessagesResponse | undefined> {
    const request = { node: this.#node, endedRunsSeen: 0n, objectsBytesMax: this.#objectsBytesMax, responseLost }
    const heartbeatInterval = this.#objectsBytesMax > 0 ? heartbeatIntervalSeconds : 0
    const sentAt = Date.now()
    if (this.#pullCountedAt > 0) this.#pullCountedAt = sentAt
    const pulled = await this.#call(fleet.pullMessages, { ...request, heartbeatInterval }, heldMs)
    this.#pullCountedAt = pulled?.heartbeatCounted ? sentAt : 0
    return pulled
  }

  async #execute(wire: WireMessage, tree: ObjectTree, objects: readonly Uint8Array[]): Promise<void> {
    const node = this.#node
    const metadata = metadataFromWire(wire.metadata)
    const { runId, messageId } = metadata
    if (!this.#knownRuns.has(runId)) {
      const run = await this.#call(fleet.getRun, { node, runId })
      await this.#call(fleet.getFab, { node, runId, hashStr: run?.run?.fabHash ?? '' })
      this.#knownRuns.add(runId)
    }
    const isWhole = objects.length > 0
    if (!isWhole) {
      await severalAtOnce(flattenTree(tree), (objectId) => this.#pullObject(runId, objectId))
      await this.#call(fleet.confirmMessageReceived, { node, runId, messageObjectId: messageId })
    }
    const reply = deflateMessage(
      new Message(
        {
          ...metadata,
          messageId: '',
          srcNodeId: this.#nodeId,
          dstNodeId: superlinkNodeId,
          replyToMessageId: messageId,
          createdAt: Date.now() / 1000,
          ttl: metadata.createdAt + metadata.ttl - Date.now() / 1000,
        },
        { content: this.#content() },
      ),
    )
    const { objectsToPush } = await this.#push({
      node,
      messagesList: [reply.wire],
      messageObjectTrees: [reply.tree],
      clientappRuntimeList: [0.01],
      objects: selectCarried([reply], this.#objectsBytesMax).objects,
    })
    await severalAtOnce(objectsToPush, (objectId) => {
      const objectContent = reply.objects.get(objectId)?.() ?? new Uint8Array()
      return this.#call(fleet.pushObject, { node, runId, objectId, objectContent })
    })
    this.#counts.replied()
  }

  /** Sends a reply until it has arrived, as SuperNodes do. */
  async #push(reply: MessageInitShape<typeof fleet.pushMessages.input>): Promise<{ objectsToPush: readonly string[] }> {
    while (!this.#signal.aborted) {
      const response = await this.#call(fleet.pushMessages, reply)
      if (response) return response
      await delay(1000)
      await this.#comeBack()
    }
    return { objectsToPush: [] }
  }

  /** Flower's SuperLink hands out messages whose objects it does not have yet. */
  async #pullObject(runId: bigint, objectId: string): Promise<void> {
    while (!this.#signal.aborted) {
      const pulled = await this.#call(fleet.pullObject, { node: this.#node, runId, objectId }, heldMs)
      if (!pulled?.objectFound || pulled.objectAvailable) return
      await delay(objectPauseMs)
    }
  }

  async #headers(): Promise<Readonly<Record<string, string>> | undefined> {
    return this.#signed?.current()
  }

  /** Other numbers at each node, so that no two replies share an object. */
  #content(): RecordDict {
    const values = new Float32Array(floats).fill(1 + this.#index)
    return new RecordDict({
      arrays: new ArrayRecord({ w: NdArray.from(values) }),
      metrics: new MetricRecord({ 'num-examples': 1 + this.#index }),
    })
  }

  async #call<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    waitMs?: number,
  ): Promise<MessageShape<O> | undefined> {
    if (!this.#session) throw new Error('The node has not joined.')
    const timeoutMs = answerMs + (waitMs ?? 0)
    try {
      const response = await call(this.#session, method, request, {
        timeoutMs,
        headers: await this.#headers(),
        ...(waitMs === undefined ? {} : { waitMs }),
      })
      this.#counts.done(method.name)
      return response
    } catch (error) {
      if (!this.#signal.aborted) this.#counts.lost(method.name, (error as Error).message)
      return undefined
    }
  }
}

/** The headers by which a node with a key proves itself. Signed once a minute: the server accepts them for five. */
class SignedHeaders {
  readonly #key: NodeKey
  #signedAt = Number.NEGATIVE_INFINITY
  #headers: Promise<Record<string, string>> = Promise.resolve({})

  constructor(key: NodeKey) {
    this.#key = key
  }

  current(): Promise<Readonly<Record<string, string>>> {
    const now = Date.now()
    if (now - this.#signedAt > 60_000) {
      this.#signedAt = now
      this.#headers = signNodeCall(this.#key, now).then(({ headers, binaryHeaders }) => ({
        ...headers,
        ...Object.fromEntries(
          Object.entries(binaryHeaders).map(([name, value]) => [`${name}-bin`, Buffer.from(value).toString('base64')]),
        ),
      }))
    }
    return this.#headers
  }
}

async function severalAtOnce<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) await work(items[next++] as T)
  }
  await Promise.all(Array.from({ length: Math.min(transfersAtOnce, items.length) }, worker))
}
