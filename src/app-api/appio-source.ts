import { create, type DescMethodUnary, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf'
import type { Logger } from '../base/log.ts'
import { ClientAppIo } from '../gen/flwr/proto/clientappio_pb.ts'
import { ServerAppIo } from '../gen/flwr/proto/serverappio_pb.ts'
import { RpcError } from '../rpc/channel.ts'
import { createAppioTask } from './appio-task.ts'
import { superexecHeaders } from './superexec-headers.ts'
import type { AppProgram } from './task-api.ts'
import { answerMs, noTask, retryOverNewConnection, type TaskSource, type TaskSourceOptions } from './task-source.ts'

const services = { 'flwr-serverapp': ServerAppIo.method, 'flwr-clientapp': ClientAppIo.method } as const

/**
 * The work of a SuperLink or SuperNode of Flower 1.29: runs that wait for a token. `program` says which of the two the
 * server is; without it the server is asked.
 */
export function createAppioSource(
  options: TaskSourceOptions & { readonly program: AppProgram | undefined; readonly log: Logger },
): TaskSource {
  const { channel, secret, log } = options
  let { program } = options

  const call = async <I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> => {
    const request = create(method.input, init) as MessageShape<I>
    const headers = superexecHeaders(secret, method, request)
    const options = { signal, headers, isAcceptedOnce: secret !== undefined, timeoutMs: answerMs }
    return (await channel.call(method, request as MessageInitShape<I>, options).catch(retryOverNewConnection(channel)))
      .message
  }

  const list = async (signal: AbortSignal): Promise<{ runIds: bigint[]; program: AppProgram }> => {
    const candidates = program ? [program] : (Object.keys(services) as AppProgram[])
    let refusal: unknown
    for (const candidate of candidates) {
      try {
        const { runIds } = await call(services[candidate].listAppsToLaunch, {}, signal)
        program = candidate
        return { runIds, program }
      } catch (error) {
        if (!isOtherService(error)) throw error
        refusal ??= error
      }
    }
    throw refusal
  }

  return {
    generation: 'appio',
    async acquire(signal, { programs } = {}) {
      const { runIds, program } = await list(signal)
      if (programs && !programs.includes(program)) return noTask
      const service = services[program]
      for (const runId of runIds) {
        // A simulation is a run too; its program is not ours to start.
        if (program === 'flwr-serverapp') {
          const { run } = await call(service.getRun, { runId }, signal)
          if (run?.primaryTaskType === 'simulation') continue
        }
        const { token } = await call(service.requestToken, { runId }, signal)
        if (token === '') continue
        log.debug('A token was granted', { run: runId })
        return { ...noTask, task: { taskId: undefined, runId, program, component: undefined, token } }
      }
      return noTask
    },
    open: (task, options) =>
      createAppioTask(task.program, { ...options, channel, token: task.token, runId: task.runId }),
    needsLastWords: true,
  }
}

/** How a server says that it has another service at this address: Flower 1.29 refuses what it does not know. */
function isOtherService(error: unknown): boolean {
  return error instanceof RpcError && ['unimplemented', 'unauthenticated', 'not-found'].includes(error.status)
}
