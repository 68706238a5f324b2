import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { runtimeAccess } from '../access/table.ts'
import { type Clock, isoTimestamp } from '../base/clock.ts'
import { DomainError } from '../base/errors.ts'
import type { RunId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import type { MakeRoom } from '../base/make-room.ts'
import { isReleaseFrom } from '../base/version.ts'
import type { RunSchema } from '../gen/flwr/proto/run_pb.ts'
import { Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { hostOf, isLoopback } from '../rpc/address.ts'
import type { Call } from '../rpc/call.ts'
import type { FileMaker } from '../rpc/object-content.ts'
import { defineService, type Service } from '../rpc/service.ts'
import { type AppCallers, appCallers } from './app-callers.ts'
import { type AppOwned, appOwners } from './app-owners.ts'
import type { SuperexecCheck } from './superexec-auth.ts'
import type { Task } from './task.ts'
import type { Tasks } from './tasks.ts'
import { checkRuntimeRelease, unservedRuntimeCalls } from './unserved-calls.ts'

type Methods = typeof Runtime.method
type Request<K extends keyof Methods> = MessageShape<Methods[K]['input']>
type Response<K extends keyof Methods> = MessageInitShape<Methods[K]['output']>

/** What programs of ours want to have with the input of a task. */
export type InputWishes = Pick<Request<'pullTaskInput'>, 'objectsBytesMax' | 'fabHash' | 'messageRequired'> &
  Partial<Pick<Request<'pullTaskInput'>, 'takesCheckpointPieces'>>

/** What differs between a SuperLink (ServerApps) and a SuperNode (ClientApps) behind the same Runtime service. */
export interface RuntimeBackend {
  /** The component reference of the task's app, for the launcher. */
  component(task: Task): Promise<string | undefined>
  /**
   * Makes room for the context and the FAB before it reads them. Returns nothing if the wishes require the message of the
   * task to come along and it cannot.
   */
  taskInput(task: Task, makeRoom?: MakeRoom, wishes?: InputWishes): Promise<Response<'pullTaskInput'>>
  /** For launchers of Flower 1.29, which ask for a run by its id. */
  findRun(runId: RunId): Promise<MessageInitShape<typeof RunSchema> | undefined>
  /** Whether the object is part of a message that the app sends. */
  maySend(task: Task, objectId: string): Promise<boolean>
  /** Whether the object is part of a message that the app sends or receives. */
  mayRead(task: Task, objectId: string): Promise<boolean>
  /** Throws `message-of-another` for a message that the app does not receive, unless it is unknown. */
  ensureReceiver(task: Task, messageIds: readonly string[]): Promise<void>
  pushMessages(task: Task, request: Request<'pushMessages'>): Promise<Response<'pushMessages'>>
  /**
   * Returns the replies to the messages named in `replyTo`, or to any message if it is undefined. Waits up to `waitMs` for
   * one reply, or for every reply if `all` is set. Objects of at most `objectsBytesMax` may come along.
   */
  pullMessages(
    task: Task,
    replyTo: readonly string[] | undefined,
    wait: { waitMs: number; signal: AbortSignal; all: boolean; objectsBytesMax?: number; makeRoom?: MakeRoom },
  ): Promise<Response<'pullMessages'>>
  pushObject(task: Task, request: Request<'pushObject'>): Promise<Response<'pushObject'>>
  /** Whether the app may have stored this object before, in a session of its own: its receivers can have let go of it. */
  mayHavePushed?(task: Task, request: Request<'pushObject'>): boolean
  pullObject(
    task: Task,
    request: Request<'pullObject'>,
    wait: { waitMs: number; signal: AbortSignal; makeRoom?: MakeRoom },
  ): Promise<Response<'pullObject'>>
  confirmMessageReceived(task: Task, request: Request<'confirmMessageReceived'>): Promise<void>
  /** Waits up to `waitMs` while exactly `knownNodes` are online. */
  getNodes(
    task: Task,
    wait?: { knownNodes: number; waitMs: number; signal: AbortSignal },
  ): Promise<Response<'getNodes'>>
  pushLogs(task: Task, request: Request<'pushLogs'>): Promise<void>
  pushTaskEvents(task: Task, request: Request<'pushTaskEvents'>): Promise<void>
  /** Keeps what a ServerApp goes on from if its process is lost. */
  saveCheckpoint(task: Task, request: Request<'saveCheckpoint'>): Promise<Response<'saveCheckpoint'>>
  /** Returns a piece of a large checkpoint. */
  pullCheckpoint(
    task: Task,
    request: Request<'pullCheckpoint'>,
    makeRoom?: MakeRoom,
  ): Promise<Response<'pullCheckpoint'>>
  /** Stores what the app left and finishes the task; a refused end is not an error. */
  pushTaskOutput(task: Task, request: Request<'pushTaskOutput'>): Promise<void>
}

export interface RuntimeServiceOptions {
  readonly tasks: Tasks
  readonly backend: RuntimeBackend
  readonly clock: Clock
  readonly checkSuperexec: SuperexecCheck
  /** For large objects that apps send. Without it, objects arrive in memory. */
  readonly files?: FileMaker
}

/** The Runtime service over whatever backend; every call but AcquireTask needs the token of a live task. */
export function createRuntimeService(options: RuntimeServiceOptions): Service {
  const { tasks, backend, clock } = options
  return defineService<typeof Runtime, AppCallers, typeof runtimeAccess, AppOwned>(Runtime, {
    access: runtimeAccess,
    callers: appCallers(options, { tokenHeader: 'flwr-task-token', checkRelease: checkRuntimeRelease }),
    owners: appOwners(backend),
    unserved: unservedRuntimeCalls,
    files: options.files,
    handlers: {
      async acquireTask(request, call) {
        const seen = request.endedRunsSeen
        const endedAfter = seen === undefined ? undefined : tasks.endedRuns.position(seen)
        const acquired = await tasks.acquire({
          types: request.supportedTaskTypes,
          ...holdOf(call),
          endedAfter,
        })
        const news = endedAfter === undefined ? {} : tasks.endedRuns.news(endedAfter)
        if (!acquired) return news
        const component = await backend.component(acquired.task)
        const simulates = await isSimulation(acquired.task)
        return {
          ...news,
          task: toWire(acquired.task),
          token: acquired.token,
          ...(component === undefined ? {} : { component }),
          simulates,
        }
      },
      async sendTaskHeartbeat(_request, call, task) {
        const wait = { waitMs: call.waitMs ?? 0, signal: call.signal }
        return { success: await tasks.heartbeat(task.taskId, wait) }
      },
      async pullTaskInput(request, { makeRoom }, task) {
        const input = await backend.taskInput(task, makeRoom, request)
        if (request.messageRequired && !input.message) return {}
        if (!(await tasks.activate(task.taskId)))
          throw new DomainError('task-state', 'The task has not been handed out, or has ended.')
        return { ...input, taskId: task.taskId }
      },
      async pushTaskOutput(request, _call, task) {
        await backend.pushTaskOutput(task, request)
        return {}
      },
      pushMessages: (request, call, task) =>
        backend.pushMessages(task, { ...request, leavesFiles: request.leavesFiles && isNear(call) }),
      pullMessages: (request, call, task) =>
        backend.pullMessages(task, replyToOf(request, call), {
          ...holdOf(call),
          // A partial response would cost Flower's client a pause of 3 s.
          all: call.waitMs === undefined,
          objectsBytesMax: request.objectsBytesMax,
        }),
      pushObject: (request, _call, task, isOwn) => pushObject(backend, task, request, isOwn),
      // Flower's client would ask again after a second or more, and later each time.
      pullObject: (request, call, task, isOwn) =>
        isOwn
          ? backend.pullObject(task, { ...request, takesFile: request.takesFile && isNear(call) }, holdOf(call))
          : { objectFound: false },
      async confirmMessageReceived(request, _call, task) {
        await backend.confirmMessageReceived(task, request)
        return {}
      },
      getNodes: ({ knownNodes }, call, task) =>
        backend.getNodes(
          task,
          knownNodes === undefined ? undefined : { knownNodes, waitMs: call.waitMs ?? 0, signal: call.signal },
        ),
      async pushLogs(request, _call, task) {
        await backend.pushLogs(task, request)
        return {}
      },
      saveCheckpoint: (request, _call, task) => backend.saveCheckpoint(task, request),
      pullCheckpoint: (request, { makeRoom }, task) => backend.pullCheckpoint(task, request, makeRoom),
      async pushTaskEvents(request, _call, task) {
        await backend.pushTaskEvents(task, request)
        return {}
      },
    },
  })

  async function isSimulation({ type, runId }: Task): Promise<boolean> {
    return type === 'flwr-serverapp' && (await backend.findRun(runId))?.primaryTaskType === 'flwr-simulation'
  }

  function toWire(task: Task): MessageInitShape<typeof Runtime.method.acquireTask.output>['task'] {
    return {
      taskId: task.taskId,
      runId: task.runId,
      type: task.type,
      fabHash: task.fabHash,
      status: { status: task.status, subStatus: task.subStatus, details: task.details },
      pendingAt: isoTimestamp(task.pendingAt),
      startingAt: isoTimestamp(clock.now()),
    }
  }
}

/** Whether the caller is on this machine: it may share files with this server. */
function isNear({ connection }: Call): boolean {
  return isLoopback(hostOf(connection.remoteAddress))
}

/** An empty request means "no messages" up to Flower 1.42 and "every message" since 1.43. */
function replyToOf(
  { replyToMessageIds, messageIds, wantsAll }: Request<'pullMessages'>,
  call: Call,
): readonly string[] | undefined {
  if (wantsAll) return undefined
  if (replyToMessageIds) return replyToMessageIds.vals
  if (messageIds.length > 0) return messageIds
  const [version] = call.header('flwr-package-version')
  return version !== undefined && isReleaseFrom(version, 43) ? undefined : []
}

function holdOf(call: Call): { waitMs: number; signal: AbortSignal; makeRoom: MakeRoom } {
  return { waitMs: call.waitMs ?? limits.heldStrangerCallMs, signal: call.signal, makeRoom: call.makeRoom }
}

/**
 * Stores an object of the app. One that no message of the app names counts as stored if it may be the second try of an upload
 * whose response was lost: Flower's apps end with an error otherwise.
 */
export async function pushObject(
  backend: Pick<RuntimeBackend, 'pushObject' | 'mayHavePushed'>,
  task: Task,
  request: Request<'pushObject'>,
  isOwn: boolean,
): Promise<Response<'pushObject'>> {
  if (isOwn) return backend.pushObject(task, request)
  return { stored: backend.mayHavePushed?.(task, request) ?? false }
}
