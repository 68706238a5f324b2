import { create } from '@bufbuild/protobuf'
import { UsageError } from '../base/errors.ts'
import { flowerGrpcVersion, flowerRuntimeReleases, trellisVersion } from '../base/version.ts'
import { AcquireTaskRequestSchema, type AcquireTaskResponse, Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { formatAddress } from '../rpc/address.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { createRuntimeTask } from './runtime-task.ts'
import { superexecHeaders } from './superexec-headers.ts'
import type { AppProgram } from './task-api.ts'
import {
  type AcquiredTask,
  answerMs,
  retryOverNewConnection,
  type TaskSource,
  type TaskSourceOptions,
} from './task-source.ts'

const allPrograms: readonly AppProgram[] = ['flwr-serverapp', 'flwr-clientapp']
const holdMs = 25_000

/** Tasks of the Runtime API, of SuperLinks and SuperNodes alike. */
export function createRuntimeSource({ channel, secret }: TaskSourceOptions): TaskSource {
  let endedRunsSeen = 0n
  let isOurs = false
  return {
    generation: 'runtime',
    async acquire(signal, { hold = true, programs = allPrograms } = {}) {
      const waitMs = hold ? holdMs : 0
      const method = Runtime.method.acquireTask
      const request = create(AcquireTaskRequestSchema, { supportedTaskTypes: [...programs], endedRunsSeen })
      const headers = superexecHeaders(secret, method, request)
      const isAcceptedOnce = secret !== undefined
      const { message, waited } = await channel
        .call(method, request, { signal, waitMs, headers, isAcceptedOnce, timeoutMs: waitMs + answerMs })
        .catch(retryOverNewConnection(channel))
        .catch((error: unknown) => {
          throw explain(error, formatAddress(channel.address))
        })
      endedRunsSeen = message.endedRunsSeen ?? 0n
      isOurs = waited
      return { task: taskOf(message), endedRunIds: message.endedRunIds, waited }
    },
    open: (task, options) => createRuntimeTask({ ...options, channel, token: task.token }),
    get needsLastWords() {
      return !isOurs
    },
  }
}

/** Flower had other names for this before. */
function explain(error: unknown, where: string): unknown {
  if (!(error instanceof RpcError) || !['not-found', 'unimplemented'].includes(error.status)) return error
  return new UsageError(
    `${where} does not know AcquireTask: its Flower is older than 1.39 and newer than 1.29. Trellis ${trellisVersion} runs apps for Flower ${flowerGrpcVersion} and 1.${first} to 1.${last}.`,
    { cause: error },
  )
}

const [first, last] = flowerRuntimeReleases

function taskOf({ task, token, component, simulates }: AcquireTaskResponse): AcquiredTask | undefined {
  if (!task) return undefined
  return { taskId: task.taskId, runId: task.runId, program: task.type as AppProgram, component, token, simulates }
}
