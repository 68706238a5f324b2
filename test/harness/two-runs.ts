import type { MessageShape } from '@bufbuild/protobuf'
import type { Logger } from '../../src/base/log.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import type { Issued } from '../../src/identity/pki.ts'
import { type DeflatedMessage, deflateMessage } from '../../src/message/deflate.ts'
import { Message, type Metadata } from '../../src/message/message.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, RecordDict } from '../../src/message/records.ts'
import type { Channel } from '../../src/rpc/channel.ts'
import { type AppIoClient, appIoClient } from './appio-client.ts'
import { joinFleet, MutualTlsSuperlink } from './mutual-tls.ts'
import { writeApp } from './write-app.ts'

/** One party at a SuperLink: an account with a run, the app of that run, and a SuperNode. */
export interface Party {
  readonly name: string
  readonly account: Channel
  readonly accountPair: Issued
  readonly node: Channel
  readonly nodePair: Issued
  readonly nodeId: bigint
  readonly runId: bigint
  readonly token: string
}

export interface TwoRunsOptions {
  readonly transport?: 'grpc' | 'http'
  readonly arguments?: (file: (name: string) => string) => readonly string[]
  readonly log?: Logger
  /** Organisation of each account, in order. */
  readonly organizations?: readonly [string, string]
}

/** A SuperLink in this process with the running runs of two accounts, whose apps and SuperNodes are the test. */
export class TwoRuns implements AsyncDisposable {
  readonly deployment: MutualTlsSuperlink
  readonly alice: Party
  readonly bob: Party
  readonly #transport: 'grpc' | 'http'
  readonly #apps: Channel
  readonly #stack = new DisposableStack()

  private constructor(deployment: MutualTlsSuperlink, alice: Party, bob: Party, transport: 'grpc' | 'http') {
    this.deployment = deployment
    this.alice = alice
    this.bob = bob
    this.#transport = transport
    this.#apps = deployment.connect('main', undefined, transport)
  }

  static async start(options: TwoRunsOptions = {}): Promise<TwoRuns> {
    const { transport = 'grpc', organizations = ['', ''] } = options
    const deployment = await MutualTlsSuperlink.start((file) => options.arguments?.(file) ?? [], options.log)
    try {
      const content = buildFab(writeApp(deployment.file('app'), { server: '', client: '' })).bytes
      const parties: Party[] = []
      for (const [index, name] of (['alice', 'bob'] as const).entries()) {
        const organization = organizations[index]
        const subject = organization ? { organization } : {}
        const accountPair = (await deployment.ca.issue(name, subject)).issued
        const nodePair = (await deployment.ca.issue(`node-${index + 1}`, subject)).issued
        const account = deployment.connect('control', accountPair, transport)
        const node = deployment.connect('fleet', nodePair, transport)
        const nodeId = await joinFleet(node)
        const { runId = 0n } = (await account.call(Control.method.startRun, { fab: { content } })).message
        const apps = deployment.connect('main', undefined, transport)
        const types = { supportedTaskTypes: ['flwr-serverapp'] }
        const { token } = (await apps.call(Runtime.method.acquireTask, types)).message
        await apps.call(Runtime.method.pullTaskInput, {}, { headers: { 'flwr-task-token': token } })
        const logs = { node: { nodeId: 1n }, runId, logs: [`a line of ${name}`] }
        await apps.call(Runtime.method.pushLogs, logs, { headers: { 'flwr-task-token': token } })
        parties.push({ name, account, accountPair, node, nodePair, nodeId, runId, token })
      }
      const [alice, bob] = parties as [Party, Party]
      return new TwoRuns(deployment, alice, bob, transport)
    } catch (error) {
      await deployment[Symbol.asyncDispose]()
      throw error
    }
  }

  get transport(): 'grpc' | 'http' {
    return this.#transport
  }

  /** Headers of an app process of this party, and the channel that apps use. */
  appOf({ token }: Pick<Party, 'token'>): { channel: Channel; options: { headers: Record<string, string> } } {
    return { channel: this.#apps, options: { headers: { 'flwr-task-token': token } } }
  }

  /** The same app as one of Flower 1.29. */
  appIoOf({ token }: Pick<Party, 'token'>): AppIoClient {
    return this.#stack.use(appIoClient(this.deployment, token))
  }

  /** The app of `from` announces an instruction to a node and, unless told otherwise, uploads it. */
  async instruct(from: Party, nodeId: bigint, { seed = 0, upload = true } = {}): Promise<DeflatedMessage> {
    const deflated = instructionTo(nodeId, from.runId, seed)
    const { channel, options } = this.appOf(from)
    const request = { messagesList: [deflated.wire], messageObjectTrees: [deflated.tree] }
    await channel.call(Runtime.method.pushMessages, request, options)
    if (upload) await this.upload(from, deflated)
    return deflated
  }

  /** Uploads the objects of an instruction; returns the ids that the SuperLink did not take. */
  async upload(from: Party, { objects }: DeflatedMessage): Promise<string[]> {
    const { channel, options } = this.appOf(from)
    const refused: string[] = []
    for (const [objectId, bytes] of objects) {
      const request = { node: { nodeId: 1n }, runId: from.runId, objectId, objectContent: bytes() }
      const { stored } = (await channel.call(Runtime.method.pushObject, request, options)).message
      if (!stored) refused.push(objectId)
    }
    return refused
  }

  /** The SuperNode of a party fetches its next instruction. */
  async fetch({ node, nodeId }: Party): Promise<MessageShape<typeof Fleet.method.pullMessages.output>> {
    return (await node.call(Fleet.method.pullMessages, { node: { nodeId } }, { waitMs: 0 })).message
  }

  /** The SuperNode of a party announces a reply and, unless told otherwise, uploads it. */
  async reply(by: Party, instruction: DeflatedMessage, { seed = 9, upload = true } = {}): Promise<DeflatedMessage> {
    const asked = instruction.wire.metadata as unknown as Metadata
    const answer = new Message(asked, { content: new RecordDict() }).reply(weights(seed))
    const deflated = deflateMessage(answer, { ...answer.metadata, srcNodeId: by.nodeId, dstNodeId: 1n })
    await this.send(by, deflated, { upload })
    return deflated
  }

  /** The SuperNode of a party announces any message as a reply, and uploads its objects. */
  async send(
    by: Party,
    { wire, tree, objects }: Pick<DeflatedMessage, 'wire' | 'tree' | 'objects'>,
    { upload = true } = {},
  ): Promise<void> {
    const node = { nodeId: by.nodeId }
    const request = { node, messagesList: [wire], messageObjectTrees: [tree] }
    await by.node.call(Fleet.method.pushMessages, request)
    if (!upload) return
    const runId = wire.metadata?.runId ?? 0n
    for (const [objectId, bytes] of objects)
      await by.node.call(Fleet.method.pushObject, { node, runId, objectId, objectContent: bytes() })
  }

  /** What the app of a party gets as replies to these instructions now. */
  async replies(of: Party, messageIds: readonly string[]) {
    const { channel, options } = this.appOf(of)
    const request = { messageIds: [...messageIds] }
    return (await channel.call(Runtime.method.pullMessages, request, { ...options, waitMs: 0 })).message.messagesList
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose()
    await this.deployment[Symbol.asyncDispose]()
  }
}

export function instructionTo(dstNodeId: bigint, runId: bigint, seed: number): DeflatedMessage {
  const message = Message.create({ content: weights(seed), messageType: 'train', dstNodeId })
  return deflateMessage(message, { ...message.metadata, runId, srcNodeId: 1n })
}

/** Different for each seed, so that no two messages share an object unless a test wants it. */
function weights(seed: number): RecordDict {
  return new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(Float32Array.of(seed, 1, 2, 3)) }) })
}
