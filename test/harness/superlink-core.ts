import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type NodeId, type RunId, superlinkNodeId, type TaskId } from '../../src/base/ids.ts'
import { limits } from '../../src/base/limits.ts'
import { SteadyTime } from '../../src/base/steady-time.ts'
import { StorageRoom } from '../../src/base/storage-room.ts'
import type { Db } from '../../src/db/database.ts'
import { forgetPendingValues } from '../../src/db/large-values.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import type { SimulationConfig } from '../../src/gen/flwr/proto/federation_config_pb.ts'
import type { CertificatePeer, PeerIdentity, Role } from '../../src/identity/caller.ts'
import { type DeflatedMessage, deflateMessage } from '../../src/message/deflate.ts'
import { Message, type MessageError, type Metadata } from '../../src/message/message.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, RecordDict } from '../../src/message/records.ts'
import { type CarriedObjects, readCarried } from '../../src/objects/carried-objects.ts'
import { createObjectStore } from '../../src/objects/object-store.ts'
import type { Connection } from '../../src/rpc/call.ts'
import { isObjectFrom } from '../../src/superlink/access/ownership.ts'
import { Participants } from '../../src/superlink/access/participants.ts'
import { SecurityView } from '../../src/superlink/access/security-view.ts'
import { createBells, type SuperlinkContext } from '../../src/superlink/context.ts'
import { CheckedReplies } from '../../src/superlink/delivery/checked-replies.ts'
import { Claims } from '../../src/superlink/delivery/claims.ts'
import { collectReplies } from '../../src/superlink/delivery/collect-replies.ts'
import { confirmInstruction, confirmReceived } from '../../src/superlink/delivery/confirm.ts'
import { claimInstruction, pushInstructions } from '../../src/superlink/delivery/instructions.ts'
import { complete } from '../../src/superlink/delivery/life.ts'
import { find, type NewMessage, type StoredMessage } from '../../src/superlink/delivery/message-store.ts'
import { PassingReplies } from '../../src/superlink/delivery/passing-replies.ts'
import { recoverDelivery } from '../../src/superlink/delivery/recover.ts'
import { acceptReply, ReplyIntake } from '../../src/superlink/delivery/replies.ts'
import { acceptUnprompted } from '../../src/superlink/delivery/unprompted.ts'
import { EventLog } from '../../src/superlink/events/event-log.ts'
import { KnownNodes } from '../../src/superlink/nodes/known-nodes.ts'
import { LiveNodes } from '../../src/superlink/nodes/live-nodes.ts'
import { activateNode, heartbeat, registerNode } from '../../src/superlink/nodes/nodes.ts'
import { joinedNodes } from '../../src/superlink/nodes/run-nodes.ts'
import { Uploads } from '../../src/superlink/nodes/uploads.ts'
import { defaultQuotas, type QuotaLimits } from '../../src/superlink/quotas/config-quotas.ts'
import { Quotas } from '../../src/superlink/quotas/quotas.ts'
import { type CheckpointBounds, CheckpointUploads } from '../../src/superlink/runs/checkpoint-pieces.ts'
import { prepareRestart } from '../../src/superlink/runs/checkpoints.ts'
import { onTaskFinished, stopRun } from '../../src/superlink/runs/finish.ts'
import { type RunObserver, RunProgress } from '../../src/superlink/runs/progress.ts'
import { startRun } from '../../src/superlink/runs/start.ts'
import { Traffic } from '../../src/superlink/runs/traffic.ts'
import { VirtualFleet } from '../../src/superlink/simulation/virtual-fleet.ts'
import { Tasks } from '../../src/tasks/tasks.ts'
import { temporaryDirectory } from './directory.ts'
import { FakeClock } from './fake-clock.ts'
import { recordingLogger } from './recording-logger.ts'
import { openTestDatabase, settled } from './test-database.ts'
import { writeApp } from './write-app.ts'

export { settled }

export interface CoreOptions {
  /** Runs are simulated on a machine with as many processors. */
  readonly simulatedCpus?: number
  /** Folder of the database and the objects of a SuperLink that can be opened again; in memory by default. */
  readonly folder?: string
  readonly clock?: FakeClock
  /** Whether a disk that was full has room again; it never has by default. */
  readonly hasRoom?: (folder: string, bytes: number) => Promise<boolean>
  /** Hears of what happens in runs. */
  readonly observer?: RunObserver
  /** A clock that does not jump, for tests in which `clock` does. */
  readonly monotonicNow?: () => number
  /** Instead of the defaults. */
  readonly quotas?: Partial<QuotaLimits>
  /** Smaller ones than those of a SuperLink, for checkpoints in pieces. */
  readonly checkpointBounds?: CheckpointBounds
  /** What else the context says. */
  readonly settings?: Partial<Pick<SuperlinkContext, 'requireCertificates' | 'supernodeAuth' | 'unprovenNodes'>>
}

export interface CoreRun {
  readonly runId: RunId
  readonly taskId: TaskId
  readonly token: string
}

/** A message with what its sender holds of it. */
export interface OwnMessage {
  readonly messageId: string
  readonly metadata: Metadata
  readonly error: MessageError | undefined
  readonly deflated: DeflatedMessage
}

const home = temporaryDirectory()
process.on('exit', () => home[Symbol.dispose]())
let built: Uint8Array | undefined
/** An app that no test runs. */
export const emptyFab = (): Uint8Array => {
  built ??= buildFab(writeApp(home.file('coreapp'), { server: '', client: '' })).bytes
  return built
}

/** The rules of a SuperLink without listeners, with a clock that the test drives. The test is its apps and SuperNodes. */
export class SuperlinkCore implements AsyncDisposable {
  readonly ctx: SuperlinkContext
  readonly clock: FakeClock
  readonly lines: string[]
  readonly time: SteadyTime
  readonly fleet: VirtualFleet | undefined
  readonly #stack: AsyncDisposableStack
  readonly #objects: string
  readonly #signal = new AbortController().signal
  readonly #hangUps = new Map<string, () => void>()
  #messages = 0

  private constructor(
    ctx: SuperlinkContext,
    clock: FakeClock,
    time: SteadyTime,
    lines: string[],
    stack: AsyncDisposableStack,
    objects: string,
  ) {
    this.ctx = ctx
    this.clock = clock
    this.time = time
    this.lines = lines
    this.fleet = ctx.simulation?.fleet
    this.#stack = stack
    this.#objects = objects
  }

  static async start({
    simulatedCpus,
    folder,
    clock = new FakeClock(),
    settings,
    observer,
    quotas,
    monotonicNow = () => clock.now(),
    checkpointBounds,
    hasRoom = async () => false,
  }: CoreOptions = {}): Promise<SuperlinkCore> {
    const stack = new AsyncDisposableStack()
    const directory = folder ?? stack.use(temporaryDirectory()).path
    const bells = createBells()
    const { log, lines } = recordingLogger()
    const time = new SteadyTime({ clock, log, monotonicNow })
    const room = new StorageRoom({ clock, log, hasRoom, leaseClock: time, onChange: () => bells.runs.ringAll() })
    const db = stack.use(await openTestDatabase(folder, room.noticesOf('/data')))
    const objects = await createObjectStore({
      db,
      durable: false,
      directory: join(directory, 'objects'),
      ...room.noticesOf('/data/objects'),
      onStored: (...stored) => complete({ bells, runNodes: ctx.runNodes }, ...stored),
    })
    const machine = { cpus: simulatedCpus ?? 1, gpus: 0 }
    const simulation =
      simulatedCpus === undefined ? undefined : { machine, fleet: new VirtualFleet(() => ctx, db.read, machine) }
    const knownNodes = new KnownNodes(db)
    const ctx: SuperlinkContext = {
      db,
      objects,
      room,
      clock,
      log,
      quotas: new Quotas({ db, clock, limits: { ...defaultQuotas, ...quotas } }),
      tasks: new Tasks({
        db,
        clock,
        log,
        leaseNow: () => room.leaseNow(),
        mayGoOn: (...lost) => prepareRestart(ctx, ...lost),
        onFinished: (...end) => onTaskFinished(ctx, ...end),
      }),
      bells,
      events: new EventLog({ db, clock, bells, hasWebhook: false }),
      traffic: new Traffic(db, observer),
      progress: new RunProgress(observer),
      claims: new Claims(() => ctx),
      replyIntake: new ReplyIntake(() => ctx),
      passingReplies: new PassingReplies(),
      checkedReplies: new CheckedReplies(),
      runNodes: simulation?.fleet ?? joinedNodes({ db, room, bells, knownNodes }),
      simulation,
      security: new SecurityView(clock),
      participants: new Participants(db),
      knownNodes,
      liveNodes: new LiveNodes(),
      uploads: new Uploads(monotonicNow),
      checkpointUploads: new CheckpointUploads(checkpointBounds),
      requireCertificates: false,
      supernodeAuth: false,
      unprovenNodes: false,
      ...settings,
    }
    stack.defer(() => ctx.traffic.flush())
    stack.defer(() => knownNodes.flush())
    await ctx.tasks.recover('restarted')
    await forgetPendingValues(db)
    await recoverDelivery(ctx)
    if (simulation) {
      const stop = new AbortController()
      const job = simulation.fleet.run(stop.signal)
      stack.defer(async () => {
        stop.abort()
        await job
      })
    }
    return new SuperlinkCore(ctx, clock, time, lines, stack, join(directory, 'objects'))
  }

  /** A run whose ServerApp is up, unless told otherwise. */
  async run(options: { owner?: string; starts?: boolean; simulation?: SimulationConfig } = {}): Promise<CoreRun> {
    const { owner = 'me', starts = true, simulation } = options
    const { runId } = await startRun(this.ctx, {
      fab: emptyFab(),
      overrides: {},
      federation: '@none/default',
      simulation,
      owner: { id: owner, name: owner, organization: '' },
    })
    const acquired = await this.ctx.tasks.acquireOfRun('flwr-serverapp', runId)
    if (!acquired) throw new Error('The run has no task')
    if (starts) await this.ctx.tasks.activate(acquired.task.taskId)
    return { runId, taskId: acquired.task.taskId, token: acquired.token }
  }

  /** A SuperNode with this key joins. If it has before, that process is gone. */
  async join(publicKey: string, options: { connection?: Connection; process?: string } = {}): Promise<NodeId> {
    const credential = { kind: 'key', publicKey } as const
    const fresh = openConnection()
    if (!options.connection) this.#hangUps.get(publicKey)?.()
    this.#hangUps.set(publicKey, fresh.close)
    const speaker = { connection: options.connection ?? fresh.connection, process: options.process }
    await registerNode(this.ctx, credential, publicKey).catch(() => {})
    return activateNode(this.ctx, credential, { publicKey, heartbeatIntervalMs: 30_000, speaker })
  }

  /** An instruction that the ServerApp of a run could push. */
  instruction(
    runId: RunId,
    nodeId: bigint,
    options: { ttl?: number; bytes?: number; content?: RecordDict } = {},
  ): OwnMessage {
    const message = Message.create({
      content: options.content ?? this.#content(options.bytes),
      messageType: 'train',
      dstNodeId: nodeId,
      ttl: options.ttl ?? 3600,
    })
    return this.#own(message, { ...message.metadata, runId, srcNodeId: superlinkNodeId })
  }

  replyTo(instruction: OwnMessage, options: { bytes?: number; error?: MessageError } = {}): OwnMessage {
    const asked = instruction.metadata
    const metadata = {
      ...asked,
      srcNodeId: asked.dstNodeId,
      dstNodeId: superlinkNodeId,
      replyToMessageId: instruction.messageId,
      ttl: asked.createdAt + asked.ttl - this.clock.now() / 1000,
    }
    const body = options.error ? { error: options.error } : { content: this.#content(options.bytes) }
    return this.#own(new Message(metadata, body), metadata)
  }

  /** A message that a SuperNode sends unasked. */
  unprompted(
    runId: RunId,
    nodeId: bigint,
    { ttl = 3600, bytes, content = this.#content(bytes) }: { ttl?: number; bytes?: number; content?: RecordDict } = {},
  ): OwnMessage {
    const message = Message.create({ content, messageType: 'train', dstNodeId: 1n, ttl })
    return this.#own(message, { ...message.metadata, runId, srcNodeId: nodeId, dstNodeId: superlinkNodeId })
  }

  async sendUnprompted(message: OwnMessage, { upload = true } = {}) {
    const taken = await acceptUnprompted(this.ctx, message.metadata.srcNodeId as NodeId, stored(message))
    if (upload) await this.upload(message)
    return taken
  }

  /** What waits for the ServerApp: replies to any instruction, and messages that reply to nothing. */
  collectAll(runId: RunId, { waitMs = 0 } = {}): Promise<NewMessage[]> {
    return collectReplies(this.ctx, runId, undefined, { waitMs, signal: this.#signal, all: false })
  }

  /** With `carries` the objects come in the same call. */
  async push(runId: RunId, messages: readonly OwnMessage[], { upload = true, carries = false } = {}) {
    const carried = await carriedWith(carries ? messages : [])
    const pushed = await pushInstructions(this.ctx, runId, messages.map(stored), carried)
    if (upload) for (const message of messages) await this.upload(message)
    return pushed
  }

  async upload({ deflated }: OwnMessage): Promise<string[]> {
    const outcomes: string[] = []
    for (const [id, bytes] of deflated.objects) outcomes.push(await this.ctx.objects.put(id, bytes()))
    return outcomes
  }

  /** A SuperNode uploads an object of its reply. */
  uploadObject({ metadata }: OwnMessage, objectId: string, bytes: Uint8Array) {
    const isWanted = (db: Db) => isObjectFrom(db, metadata.srcNodeId as NodeId, metadata.runId as RunId, objectId)
    return this.ctx.objects.put(objectId, bytes, isWanted)
  }

  /** What became of a message; `undefined` once it is forgotten. */
  async stateOf({ messageId }: OwnMessage): Promise<StoredMessage['state'] | undefined> {
    return (await find(this.ctx.db.read, messageId))?.state
  }

  /** The SuperNode is alive. */
  beat(nodeId: NodeId): Promise<boolean> {
    return heartbeat(this.ctx, nodeId, 30_000)
  }

  /** The SuperNode asks for an instruction, without waiting. */
  claim(nodeId: NodeId, signal = this.#signal, takesWhole = false): Promise<StoredMessage | undefined> {
    const wait = { waitMs: 0, signal, hungUp: signal, endedAfter: undefined, takesWhole }
    return claimInstruction(this.ctx, nodeId, wait)
  }

  confirm(message: OwnMessage): Promise<void> {
    const { runId, dstNodeId } = message.metadata
    return dstNodeId !== superlinkNodeId
      ? confirmInstruction(this.ctx, message.messageId)
      : confirmReceived(this.ctx, runId as RunId, [message.messageId])
  }

  async reply(reply: OwnMessage, { upload = true, carries = false } = {}) {
    const carried = await carriedWith(carries ? [reply] : [])
    const taken = await acceptReply(this.ctx, reply.metadata.srcNodeId as NodeId, stored(reply), carried)
    if (upload && taken.accepted) await this.upload(reply)
    return taken
  }

  /** The replies to these instructions that are there now. */
  collect(runId: RunId, messageIds: readonly string[], { waitMs = 0, all = false } = {}): Promise<NewMessage[]> {
    return collectReplies(this.ctx, runId, messageIds, { waitMs, signal: this.#signal, all })
  }

  stop(runId: RunId): Promise<boolean> {
    return stopRun(this.ctx, runId)
  }

  /** What is left of messages: rows of each table, and files. Waits for deletions that are under way. */
  async leftovers(): Promise<typeof nothing> {
    const count = async (table: Exclude<keyof typeof nothing, 'files'>): Promise<number> =>
      Number(
        (
          await this.ctx.db.read
            .selectFrom(table)
            .select(({ fn }) => fn.countAll().as('n'))
            .execute()
        )[0]?.n,
      )
    const listFiles = () =>
      readdirSync(this.#objects, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const object = await count('object')
    const endsAt = performance.now() + 120_000
    while (listFiles().length > object && performance.now() < endsAt) await settled(1)
    return {
      message: await count('message'),
      message_object: await count('message_object'),
      object,
      virtual_node: await count('virtual_node'),
      files: listFiles().length,
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }

  #content(bytes = 16): RecordDict {
    // Different each time, so that no two messages share an object.
    const values = new Float32Array(Math.ceil(bytes / 4)).fill(++this.#messages)
    return new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(values) }) })
  }

  #own(message: Message, fields: Metadata): OwnMessage {
    const metadata = { ...fields, messageId: '', createdAt: this.clock.now() / 1000 }
    const deflated = deflateMessage(message, metadata)
    const { messageId } = deflated
    return { messageId, metadata: { ...metadata, messageId }, error: message.error, deflated }
  }
}

/** Nothing is left behind. */
export const nothing = { message: 0, message_object: 0, object: 0, virtual_node: 0, files: 0 }

/** What a certificate of this name stands for. */
export function certificatePeer(identity: string, fields: Partial<CertificatePeer> = {}): CertificatePeer {
  const roles = new Set<Role>(['supernode', 'cli'])
  const known = { serial: '0A', fingerprint: 'AA', notAfter: Date.parse('2027-01-01') } as const
  return { kind: 'certificate', identity, organization: '', roles, ...known, identitySharing: 'refuse', ...fields }
}

/** A connection, without a certificate unless told otherwise, and how to close it. */
export function openConnection(
  id = 1,
  peer: PeerIdentity = { kind: 'anonymous' },
): { connection: Connection; close: () => void } {
  const closed = new AbortController()
  const connection: Connection = {
    id,
    remoteAddress: `127.0.0.1:${4000 + id}`,
    secure: false,
    peer,
    closed: closed.signal,
    cutOff: new AbortController().signal,
    bytesSent: 0,
    close: () => closed.abort(),
  }
  return { connection, close: () => closed.abort() }
}

function carriedWith(messages: readonly OwnMessage[]): Promise<CarriedObjects> {
  const contents = messages.flatMap(({ deflated }) => [...deflated.objects.values()].map((read) => read()))
  const trees = messages.map(({ deflated }) => deflated.tree)
  return readCarried(contents, trees, limits.carriedPerCallBytesMax)
}

function stored({ metadata, error, deflated }: OwnMessage): NewMessage {
  return { metadata, error, tree: deflated.tree }
}
