import { DomainError } from '../base/errors.ts'
import type { RunId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { ClientAppIo } from '../gen/flwr/proto/clientappio_pb.ts'
import type { Context } from '../gen/flwr/proto/message_pb.ts'
import { ServerAppIo } from '../gen/flwr/proto/serverappio_pb.ts'
import { type Call, defineService, type Service, type ServiceHandlers } from '../rpc/call.ts'
import type { RuntimeServiceOptions } from './runtime-service.ts'
import type { Task, TaskType } from './task.ts'
import { checkAppioRelease } from './unserved-calls.ts'

/**
 * ServerAppIo and ClientAppIo, what app processes and SuperExecs of Flower 1.29 speak, as other names for the Runtime
 * service. Their token of a run is the token of a task here: nobody compares, and a task is all that a token is good for.
 */

/** Who calls: a launcher, or the app process of one task. */
type AppioCaller = { readonly task: Task | undefined }

const launcherMethods = ['listAppsToLaunch', 'requestToken', 'getRun']
/** ServerApps that have handed over their context and not said how they ended; one that dies in between leaves its own. */
const endingMax = 64

export function createServerAppIoService(options: RuntimeServiceOptions): Service {
  const { backend } = options
  const ending = new Map<bigint, Context>()
  return defineService<typeof ServerAppIo, AppioCaller>(ServerAppIo, {
    authenticate: (call, method) => authenticate(options, 'flwr-serverapp', call, method),
    handlers: {
      ...launcherHandlers(options, 'flwr-serverapp'),
      ...appHandlers(options),
      pushMessages: (request, _call, caller) =>
        backend.pushMessages(taskOf(caller), {
          $typeName: 'flwr.proto.PushAppMessagesRequest',
          messagesList: request.messagesList,
          messageObjectTrees: request.messageObjectTrees,
        }),
      pullMessages: (request, call, caller) => backend.pullMessages(taskOf(caller), request, allOf(call)),
      getNodes: (_request, _call, caller) => backend.getNodes(taskOf(caller)),
      async pushLogs(request, _call, caller) {
        await backend.pushLogs(taskOf(caller), request)
        return {}
      },
      pushAppOutputs(request, _call, caller) {
        if (ending.size >= endingMax) ending.delete(ending.keys().next().value as bigint)
        if (request.context) ending.set(taskOf(caller).taskId, request.context)
        return {}
      },
      async updateRunStatus({ runStatus }, _call, caller) {
        const task = taskOf(caller)
        if (runStatus?.status !== 'finished') return {}
        const context = ending.get(task.taskId)
        ending.delete(task.taskId)
        const { subStatus, details } = runStatus
        await backend.pushTaskOutput(task, {
          $typeName: 'flwr.proto.PushTaskOutputRequest',
          subStatus,
          details,
          ...(context ? { context } : {}),
        })
        return {}
      },
    } satisfies ServiceHandlers<typeof ServerAppIo, AppioCaller>,
  })
}

export function createClientAppIoService(options: RuntimeServiceOptions): Service {
  const { backend } = options
  return defineService<typeof ClientAppIo, AppioCaller>(ClientAppIo, {
    authenticate: (call, method) => authenticate(options, 'flwr-clientapp', call, method),
    handlers: {
      ...launcherHandlers(options, 'flwr-clientapp'),
      ...appHandlers(options),
      pushMessage: (request, _call, caller) =>
        backend.pushMessages(taskOf(caller), {
          $typeName: 'flwr.proto.PushAppMessagesRequest',
          messagesList: request.messagesList,
          messageObjectTrees: request.messageObjectTrees,
        }),
      pullMessage: (request, call, caller) => backend.pullMessages(taskOf(caller), request, allOf(call)),
      async pushAppOutputs({ context }, _call, caller) {
        await backend.pushTaskOutput(taskOf(caller), {
          $typeName: 'flwr.proto.PushTaskOutputRequest',
          subStatus: 'completed',
          details: '',
          ...(context ? { context } : {}),
        })
        return {}
      },
    } satisfies ServiceHandlers<typeof ClientAppIo, AppioCaller>,
  })
}

async function authenticate(
  { tasks, checkSuperexec }: RuntimeServiceOptions,
  type: TaskType,
  call: Call,
  method: string,
): Promise<AppioCaller> {
  checkAppioRelease(call)
  if (launcherMethods.includes(method)) {
    await checkSuperexec?.(call)
    return { task: undefined }
  }
  const tokens = call.header('flwr-app-token')
  const task = tokens.length === 1 && tokens[0] ? await tasks.findByToken(tokens[0]) : undefined
  if (task?.type !== type) throw new DomainError('token-invalid')
  return { task }
}

function taskOf({ task }: AppioCaller): Task {
  if (!task) throw new DomainError('token-invalid')
  return task
}

function holdOf(call: Call) {
  return { waitMs: call.waitMs ?? limits.heldStrangerCallMs, signal: call.signal }
}

/** A partial answer would cost Flower's client a pause of 3 s. */
const allOf = (call: Call) => ({ ...holdOf(call), all: call.waitMs === undefined })

type LauncherHandlers = Pick<
  ServiceHandlers<typeof ServerAppIo, AppioCaller>,
  'listAppsToLaunch' | 'requestToken' | 'getRun'
>

/** Upstream's SuperExec takes the first run of the list, and asks again a second after it was answered. */
function launcherHandlers({ tasks, backend }: RuntimeServiceOptions, type: TaskType): LauncherHandlers {
  return {
    listAppsToLaunch: async (_request, call) => ({ runIds: await tasks.listPendingRuns(type, holdOf(call)) }),
    async requestToken({ runId }) {
      const acquired = await tasks.acquireOfRun(type, runId as RunId)
      return { token: acquired?.token ?? '' }
    },
    async getRun({ runId }) {
      const run = await backend.findRun(runId as RunId)
      // The generation that asks knows its own names: what is simulated here is a ServerApp to a launcher.
      return run ? { run: { ...run, primaryTaskType: 'serverapp' } } : {}
    },
  }
}

type AppHandlers = Pick<
  ServiceHandlers<typeof ServerAppIo, AppioCaller>,
  'sendAppHeartbeat' | 'pullAppInputs' | 'pushObject' | 'pullObject' | 'confirmMessageReceived'
>

function appHandlers({ tasks, backend }: RuntimeServiceOptions): AppHandlers {
  return {
    sendAppHeartbeat: async (_request, call, caller) => ({
      success: await tasks.heartbeat(taskOf(caller).taskId, { waitMs: 0, signal: call.signal }),
    }),
    async pullAppInputs(_request, _call, caller) {
      const task = taskOf(caller)
      const { context, run, fab } = await backend.taskInput(task)
      if (!(await tasks.activate(task.taskId))) throw new DomainError('task-state', `Failed to start run ${task.runId}`)
      return { ...(context ? { context } : {}), ...(run ? { run } : {}), ...(fab ? { fab } : {}) }
    },
    pushObject: (request, _call, caller) => backend.pushObject(taskOf(caller), request),
    pullObject: (request, call, caller) => backend.pullObject(taskOf(caller), request, holdOf(call)),
    async confirmMessageReceived(request, _call, caller) {
      await backend.confirmMessageReceived(taskOf(caller), request)
      return {}
    },
  }
}
