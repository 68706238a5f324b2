import type { MessageShape } from '@bufbuild/protobuf'
import type { PullAppInputsResponseSchema } from '../gen/flwr/proto/appio_pb.ts'
import { ClientAppIo } from '../gen/flwr/proto/clientappio_pb.ts'
import { ServerAppIo } from '../gen/flwr/proto/serverappio_pb.ts'
import type { AppProgram, TaskApi, TaskInput, TaskOutcome } from './task-api.ts'
import { TaskCalls, type TaskCallsOptions } from './task-calls.ts'

const server = ServerAppIo.method
const client = ClientAppIo.method

type AppioTaskOptions = TaskCallsOptions & {
  /** Known to the launcher that took the task; an app process reads it from its input. */
  readonly runId?: bigint
}

/**
 * A task over the services of Flower 1.29: a run's one execution, or that of one message of a run at a node. The token is
 * the run's. Both services say of a run that has ended that the caller may do nothing any more.
 */
export function createAppioTask(program: AppProgram, options: AppioTaskOptions): TaskApi {
  const calls = new TaskCalls(options, {
    tokenHeader: 'flwr-app-token',
    endedBy: ['unauthenticated', 'permission-denied'],
  })
  return program === 'flwr-serverapp' ? serverAppTask(calls, options) : clientAppTask(calls, options)
}

function serverAppTask(calls: TaskCalls, options: AppioTaskOptions): TaskApi {
  const { token } = calls
  let runId = options.runId ?? 0n
  return {
    signal: calls.signal,
    objectsBytesMax: 0,
    async pullInput() {
      const input = inputOf(await calls.call(server.pullAppInputs, { token }))
      runId = input.run.runId
      return input
    },
    pullWholeInput: async () => undefined,
    sendHeartbeat: (callOptions) => calls.call(server.sendAppHeartbeat, { token }, callOptions),
    pullMessages: (messageIds = [], callOptions) => calls.call(server.pullMessages, { runId, messageIds }, callOptions),
    pushMessages: ({ objects: _none, ...messages }) => calls.call(server.pushMessages, { runId, ...messages }),
    pushObject: (request) => calls.call(server.pushObject, request),
    pullObject: (request, callOptions) => calls.call(server.pullObject, request, callOptions),
    confirmMessageReceived: async (request) => void (await calls.call(server.confirmMessageReceived, request)),
    getNodes: async () => (await calls.call(server.getNodes, { runId })).nodes,
    pushLogs: async (logs) => void (await calls.call(server.pushLogs, { node: {}, runId, logs })),
    pushEvents: async () => {},
    saveCheckpoint: async () => false,
    async finish({ context, subStatus, details }: TaskOutcome) {
      if (subStatus === 'completed' && context) await calls.call(server.pushAppOutputs, { token, runId, context })
      await calls.call(server.updateRunStatus, { runId, runStatus: { status: 'finished', subStatus, details } })
    },
  }
}

function clientAppTask(calls: TaskCalls, options: AppioTaskOptions): TaskApi {
  const { token } = calls
  let runId = options.runId ?? 0n
  return {
    signal: calls.signal,
    objectsBytesMax: 0,
    async pullInput() {
      const input = inputOf(await calls.call(client.pullAppInputs, { token }))
      runId = input.run.runId
      return input
    },
    pullWholeInput: async () => undefined,
    sendHeartbeat: (callOptions) => calls.call(client.sendAppHeartbeat, { token }, callOptions),
    pullMessages: (_messageIds, callOptions) => calls.call(client.pullMessage, { token }, callOptions),
    pushMessages: ({ objects: _none, ...messages }) => calls.call(client.pushMessage, { token, ...messages }),
    pushObject: (request) => calls.call(client.pushObject, request),
    pullObject: (request, callOptions) => calls.call(client.pullObject, request, callOptions),
    confirmMessageReceived: async (request) => void (await calls.call(client.confirmMessageReceived, request)),
    getNodes: async () => [],
    pushLogs: async () => {},
    pushEvents: async () => {},
    saveCheckpoint: async () => false,
    async finish({ context }: TaskOutcome) {
      if (!context) throw new Error('A SuperNode of Flower 1.29 takes the end of a task only with its context.')
      await calls.call(client.pushAppOutputs, { token, runId, context })
    },
  }
}

function inputOf({ context, run, fab }: MessageShape<typeof PullAppInputsResponseSchema>): TaskInput {
  if (!context || !run) throw new Error('The server sent no run.')
  return { context, run, fab, taskId: undefined }
}
