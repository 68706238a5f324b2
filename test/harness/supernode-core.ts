import { readdirSync } from 'node:fs'
import type { MessageShape } from '@bufbuild/protobuf'
import type { TaskApi } from '../../src/app-api/task-api.ts'
import { Bell } from '../../src/base/bell.ts'
import { inMemory, openDatabase } from '../../src/db/database.ts'
import type { Tables } from '../../src/db/schema.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import type { ObjectTree, MessageSchema as WireMessageSchema } from '../../src/gen/flwr/proto/message_pb.ts'
import { type DeflatedMessage, deflateMessage } from '../../src/message/deflate.ts'
import { Message } from '../../src/message/message.ts'
import { ConfigRecord, RecordDict } from '../../src/message/records.ts'
import { contextToWire, metadataFromWire } from '../../src/message/wire.ts'
import { createObjectStore } from '../../src/objects/object-store.ts'
import { flattenTree } from '../../src/objects/object-tree.ts'
import type { Service } from '../../src/rpc/service.ts'
import type { SupernodeContext } from '../../src/supernode/context.ts'
import type { FleetClient } from '../../src/supernode/fleet.ts'
import { receiveInstructions } from '../../src/supernode/receive.ts'
import { Runs } from '../../src/supernode/runs.ts'
import { createSupernodeBackend } from '../../src/supernode/runtime-backend.ts'
import { onTaskFinished } from '../../src/supernode/task-end.ts'
import { WorkBook } from '../../src/supernode/work.ts'
import { createClientAppIoService } from '../../src/tasks/appio-service.ts'
import { createRuntimeService, type RuntimeBackend } from '../../src/tasks/runtime-service.ts'
import type { Task } from '../../src/tasks/task.ts'
import { Tasks } from '../../src/tasks/tasks.ts'
import { temporaryDirectory } from './directory.ts'
import { FakeClock } from './fake-clock.ts'
import { FakeFleet, nodeId, patienceMs } from './fake-fleet.ts'
import { recordingLogger } from './recording-logger.ts'
import { writeApp } from './write-app.ts'

type WireMessage = MessageShape<typeof WireMessageSchema>

/** The rules of a SuperNode without processes and sockets. The test is its SuperLink and its apps. */
export class SupernodeCore implements AsyncDisposable {
  readonly fleet: FakeFleet
  readonly ctx: SupernodeContext
  readonly backend: RuntimeBackend
  readonly lines: string[]
  /** As after SIGTERM: no more instructions are received. */
  readonly leave: () => void
  readonly #stack: AsyncDisposableStack
  readonly #folder: string
  #messages = 0

  private constructor(
    stack: AsyncDisposableStack,
    parts: Pick<SupernodeCore, 'fleet' | 'ctx' | 'backend' | 'lines' | 'leave'>,
    folder: string,
  ) {
    this.#stack = stack
    this.#folder = folder
    this.fleet = parts.fleet
    this.ctx = parts.ctx
    this.backend = parts.backend
    this.lines = parts.lines
    this.leave = parts.leave
  }

  static async create(): Promise<SupernodeCore> {
    await using stack = new AsyncDisposableStack()
    const { file } = stack.use(temporaryDirectory())
    const source = 'export const app = 1\n'
    const fab = buildFab(writeApp(file('app'), { server: source, client: source }))
    const [stop, leave] = [new AbortController(), new AbortController()]
    // Replies to a message take their age from the clock of the system.
    const clock = new FakeClock(Date.now())
    const client = new FakeFleet(fab, stop.signal, () => progressOf(ctx, client))
    const { log, lines } = recordingLogger()
    const db = stack.use(openDatabase({ path: inMemory }))
    const folder = file('objects')
    const ctx: SupernodeContext = {
      config: { drainMs: 30_000 } as SupernodeContext['config'],
      db,
      objects: await createObjectStore({ db, directory: folder, durable: false }),
      tasks: new Tasks({
        db,
        clock,
        log,
        onFinished: (tx, afterCommit, task) => onTaskFinished(ctx, tx, afterCommit, task),
      }),
      clock,
      log,
      fleet: client as unknown as FleetClient,
      runs: new Runs(client as unknown as FleetClient, {}),
      work: new WorkBook(),
      room: new Bell(),
      signal: stop.signal,
      receiving: AbortSignal.any([stop.signal, leave.signal]),
    }
    const receiving = receiveInstructions(ctx).catch((error) => {
      if (!ctx.receiving.aborted) throw error
    })
    stack.defer(async () => {
      stop.abort()
      await receiving
    })
    const parts = { fleet: client, ctx, backend: createSupernodeBackend(ctx), lines, leave: () => leave.abort() }
    return new SupernodeCore(stack.move(), parts, folder)
  }

  /** Queues an instruction of this run at the SuperLink, and returns its id. */
  instruct(runId: bigint, bytes = 0, ttl = 3600): string {
    const content = new RecordDict({ c: new ConfigRecord({ n: ++this.#messages, blob: new Uint8Array(bytes) }) })
    const { metadata } = Message.create({ content, messageType: 'query', dstNodeId: nodeId, ttl })
    const sent = { ...metadata, runId, srcNodeId: 1n, createdAt: this.ctx.clock.now() / 1000 }
    const { messageId } = deflateMessage(new Message(sent, { content }))
    this.fleet.offer(new Message({ ...sent, messageId }, { content }))
    return messageId
  }

  /** Takes the next task as the process of an app does. */
  async takeTask(): Promise<Task> {
    const wait = { waitMs: patienceMs, signal: this.ctx.signal }
    const acquired = await this.ctx.tasks.acquire({ types: ['flwr-clientapp'], ...wait })
    if (!acquired) throw new Error(`There is no task. ${progressOf(this.ctx, this.fleet)}`)
    await this.backend.taskInput(acquired.task)
    await this.ctx.tasks.activate(acquired.task.taskId)
    return acquired.task
  }

  /** Fetches the message of a task and pushes a reply, without the end of the task. */
  async pushReply(task: Task, content = new RecordDict()): Promise<string> {
    const { signal } = this.ctx
    const wait = { waitMs: patienceMs, signal, all: false }
    const { messagesList, messageObjectTrees } = await this.backend.pullMessages(task, undefined as never, wait)
    for (const objectId of flattenTree(messageObjectTrees?.[0] as ObjectTree))
      await this.backend.pullObject(task, { objectId } as never, { waitMs: patienceMs, signal })
    const { wire, tree, objects } = replyTo((messagesList as WireMessage[])[0], content)
    const request = { messagesList: [wire], messageObjectTrees: [tree] } as never
    const { objectsToPush = [] } = await this.backend.pushMessages(task, request)
    for (const objectId of objectsToPush)
      await this.backend.pushObject(task, { objectId, objectContent: objects.get(objectId)?.() } as never)
    return tree.objectId
  }

  /** The same as the process of an app does it. */
  async replyOver(api: TaskApi): Promise<void> {
    const { messagesList } = await api.pullMessages(undefined)
    const { wire, tree, objects } = replyTo(messagesList[0], new RecordDict())
    const { objectsToPush, sessionId } = await api.pushMessages({ messagesList: [wire], messageObjectTrees: [tree] })
    const about = { node: { nodeId }, runId: wire.metadata?.runId ?? 0n, sessionId }
    for (const objectId of objectsToPush)
      await api.pushObject({ ...about, objectId, objectContent: (objects.get(objectId) as () => Uint8Array)() })
  }

  /** Both generations of the API for apps. */
  get services(): Service[] {
    const api = { tasks: this.ctx.tasks, backend: this.backend, clock: this.ctx.clock, checkSuperexec: async () => {} }
    return [createRuntimeService(api), createClientAppIoService(api)]
  }

  /** Hands over a state, and with it the end of the task. */
  async finish(task: Task, state = new RecordDict(), reply: object = {}): Promise<void> {
    const ids = { runId: task.runId, nodeId, seriesId: task.runId }
    const context = contextToWire({ ...ids, nodeConfig: {}, runConfig: {}, state })
    await this.backend.pushTaskOutput(task, { context, subStatus: 'completed', details: '', ...reply } as never)
  }

  /** The same with a reply, as our own apps send small ones. */
  async finishWithReply(task: Task, state = new RecordDict()): Promise<void> {
    const { signal } = this.ctx
    const wait = { waitMs: patienceMs, signal, all: false }
    const { messagesList } = await this.backend.pullMessages(task, undefined as never, wait)
    const { wire, tree, objects } = replyTo((messagesList as WireMessage[])[0], new RecordDict())
    const contents = [...objects.values()].map((read) => read())
    await this.finish(task, state, { reply: wire, replyObjectTree: tree, objects: contents })
  }

  /** Rows that the node still has, of every table that has any, and files. Waits for deletions that are under way. */
  async leftovers(): Promise<Record<string, number>> {
    const endsAt = performance.now() + patienceMs
    for (;;) {
      const left = await this.#countLeftovers()
      if (Object.keys(left).length === 0 || performance.now() > endsAt) return left
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async #countLeftovers(): Promise<Record<string, number>> {
    const tables = ['task', 'task_event', 'message', 'message_object', 'object', 'nonce'] satisfies (keyof Tables)[]
    const counts: Record<string, number> = {}
    for (const table of tables) {
      const { count } = await this.ctx.db.read
        .selectFrom(table)
        .select((of) => of.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
      if (Number(count) > 0) counts[table] = Number(count)
    }
    const files = readdirSync(this.#folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    return files.length > 0 ? { ...counts, files: files.length } : counts
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

/** Describes what the SuperNode has done and still has to do. */
function progressOf({ work }: SupernodeContext, { replies }: FakeFleet): string {
  const open = work
    .list()
    .map(({ metadata, runId, state }) => `${metadata.messageId.slice(0, 8)} of run ${runId} ${state}`)
  return `${replies.length} replies were sent; in work: ${open.join(', ') || 'nothing'}.`
}

function replyTo(wire: WireMessage | undefined, content: RecordDict): DeflatedMessage {
  const instruction = new Message(metadataFromWire(wire?.metadata), { content: new RecordDict() })
  return deflateMessage(instruction.reply(content))
}
