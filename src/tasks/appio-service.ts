import { clientAppIoAccess, serverAppIoAccess } from '../access/table.ts'
import { DomainError } from '../base/errors.ts'
import type { RunId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { ClientAppIo } from '../gen/flwr/proto/clientappio_pb.ts'
import type { Context } from '../gen/flwr/proto/message_pb.ts'
import { ServerAppIo } from '../gen/flwr/proto/serverappio_pb.ts'
import type { Call } from '../rpc/call.ts'
import { type CallerKinds, defineService, type Service, type ServiceHandlers } from '../rpc/service.ts'
import { type AppCallers, appCallers } from './app-callers.ts'
import { type AppOwned, appOwners } from './app-owners.ts'
import { pushObject, type RuntimeServiceOptions } from './runtime-service.ts'
import type { TaskType } from './task.ts'
import { checkAppioRelease } from './unserved-calls.ts'

/**
 * ServerAppIo and ClientAppIo, what app processes and SuperExecs of Flower 1.29 speak, as other names for the Runtime
 * service. Their token of a run is the token of a task here: the two are never compared, and a token is good for its task only.
 */

/** ServerApps that have handed over their context and not said how they ended; one that dies in between leaves its own. */
const endingMax = 64

export function createServerAppIoService(options: RuntimeServiceOptions): Service {
  const { backend } = options
  const ending = new Map<bigint, Context>()
  return defineService<typeof ServerAppIo, AppCallers, typeof serverAppIoAccess, AppOwned>(ServerAppIo, {
    access: serverAppIoAccess,
    callers: callers(options, 'flwr-serverapp'),
    owners: appOwners(backend),
    files: options.files,
    handlers: {
      ...launcherHandlers(options, 'flwr-serverapp'),
      ...appHandlers(options),
      pushMessages: (request, _call, task) =>
        backend.pushMessages(task, {
          $typeName: 'flwr.proto.PushAppMessagesRequest',
          messagesList: request.messagesList,
          messageObjectTrees: request.messageObjectTrees,
          objects: [],
          leavesFiles: false,
        }),
      pullMessages: (request, call, task) => backend.pullMessages(task, request.messageIds, allOf(call)),
      getNodes: (_request, _call, task) => backend.getNodes(task),
      async pushLogs(request, _call, task) {
        await backend.pushLogs(task, request)
        return {}
      },
      pushAppOutputs(request, _call, task) {
        if (ending.size >= endingMax) ending.delete(ending.keys().next().value as bigint)
        if (request.context) ending.set(task.taskId, request.context)
        return {}
      },
      async updateRunStatus({ runStatus }, _call, task) {
        if (runStatus?.status !== 'finished') return {}
        const context = ending.get(task.taskId)
        ending.delete(task.taskId)
        const { subStatus, details } = runStatus
        await backend.pushTaskOutput(task, {
          $typeName: 'flwr.proto.PushTaskOutputRequest',
          subStatus,
          details,
          objects: [],
          ...(context ? { context } : {}),
        })
        return {}
      },
    } satisfies ServiceHandlers<typeof ServerAppIo, AppCallers, typeof serverAppIoAccess, AppOwned>,
  })
}

export function createClientAppIoService(options: RuntimeServiceOptions): Service {
  const { backend } = options
  return defineService<typeof ClientAppIo, AppCallers, typeof clientAppIoAccess, AppOwned>(ClientAppIo, {
    access: clientAppIoAccess,
    callers: callers(options, 'flwr-clientapp'),
    owners: appOwners(backend),
    files: options.files,
    handlers: {
      ...launcherHandlers(options, 'flwr-clientapp'),
      ...appHandlers(options),
      pushMessage: (request, _call, task) =>
        backend.pushMessages(task, {
          $typeName: 'flwr.proto.PushAppMessagesRequest',
          messagesList: request.messagesList,
          messageObjectTrees: request.messageObjectTrees,
          objects: [],
          leavesFiles: false,
        }),
      pullMessage: (request, call, task) => backend.pullMessages(task, request.messageIds, allOf(call)),
      async pushAppOutputs({ context }, _call, task) {
        await backend.pushTaskOutput(task, {
          $typeName: 'flwr.proto.PushTaskOutputRequest',
          subStatus: 'completed',
          details: '',
          objects: [],
          ...(context ? { context } : {}),
        })
        return {}
      },
    } satisfies ServiceHandlers<typeof ClientAppIo, AppCallers, typeof clientAppIoAccess, AppOwned>,
  })
}

const callers = (options: RuntimeServiceOptions, type: TaskType): CallerKinds<AppCallers> =>
  appCallers(options, { tokenHeader: 'flwr-app-token', checkRelease: checkAppioRelease, type })

function holdOf(call: Call) {
  return { waitMs: call.waitMs ?? limits.heldStrangerCallMs, signal: call.signal, makeRoom: call.makeRoom }
}

/** A partial response would cost Flower's client a pause of 3 s. */
const allOf = (call: Call) => ({ ...holdOf(call), all: call.waitMs === undefined })

type LauncherHandlers = Pick<
  ServiceHandlers<typeof ServerAppIo, AppCallers, typeof serverAppIoAccess, AppOwned>,
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
  ServiceHandlers<typeof ServerAppIo, AppCallers, typeof serverAppIoAccess, AppOwned>,
  'sendAppHeartbeat' | 'pullAppInputs' | 'pushObject' | 'pullObject' | 'confirmMessageReceived'
>

function appHandlers({ tasks, backend }: RuntimeServiceOptions): AppHandlers {
  return {
    sendAppHeartbeat: async (_request, call, task) => ({
      success: await tasks.heartbeat(task.taskId, { waitMs: 0, signal: call.signal }),
    }),
    async pullAppInputs(_request, { makeRoom }, task) {
      const { context, run, fab } = await backend.taskInput(task, makeRoom)
      if (!(await tasks.activate(task.taskId))) throw new DomainError('task-state', `Failed to start run ${task.runId}`)
      return { ...(context ? { context } : {}), ...(run ? { run } : {}), ...(fab ? { fab } : {}) }
    },
    pushObject: (request, _call, task, isOwn) => pushObject(backend, task, request, isOwn),
    pullObject: (request, call, task, isOwn) =>
      isOwn ? backend.pullObject(task, { ...request, takesFile: false }, holdOf(call)) : { objectFound: false },
    async confirmMessageReceived(request, _call, task) {
      await backend.confirmMessageReceived(task, request)
      return {}
    },
  }
}
