import { createAppioTask } from '../app-api/appio-task.ts'
import type { LastWords } from '../app-api/last-words.ts'
import { createRuntimeTask } from '../app-api/runtime-task.ts'
import { type AppProgram, type TaskApi, TaskEndedError } from '../app-api/task-api.ts'
import { errorText } from '../base/errors.ts'
import { collectLargeGarbage } from '../base/large-garbage.ts'
import type { Main } from '../base/program.ts'
import { ObjectsUnavailableError } from '../objects/transfer.ts'
import { createChannel } from '../rpc/channel.ts'
import { type AppLog, createAppLog } from './app-log.ts'
import { type AppConfig, joinTrace, parseAppConfig } from './config.ts'
import { guardParent } from './guard.ts'
import { startHeartbeats } from './heartbeats.ts'
import { waitReady } from './readiness.ts'
import { assignedTasks } from './tokens.ts'

/** One task in the making: what the work of either kind of app needs. */
export interface TaskContext {
  readonly api: TaskApi
  readonly config: AppConfig
  readonly log: AppLog
  /** Leaves with the SuperExec what it shall say if this process dies; absent if it would say nothing. */
  readonly leaveLastWords: ((words: LastWords) => Promise<void>) | undefined
}

/**
 * The frame of both app programs: runs one task after the other. If the server cannot be told how a task ended, the process
 * ends with a non-zero status, and its SuperExec reports that.
 */
export function appMain(program: AppProgram, runTask: (task: TaskContext) => Promise<void>): Main {
  return async (argv, signal) => {
    const config = await parseAppConfig(program, argv)
    if (!config) return 0
    const log = createAppLog()
    guardParent(config.parentPid)
    const endWait = config.isReady ? waitReady() : undefined
    using channel = createChannel({
      address: config.serverAddress,
      tls: config.tls,
      transport: config.generation === 'runtime' ? 'http' : 'grpc',
      component: program,
    })
    for await (const { token, leaveLastWords, traceParent } of assignedTasks(config.token, signal)) {
      endWait?.()
      joinTrace(traceParent)
      const ended = new AbortController()
      const options = { channel, token, log, signal: AbortSignal.any([signal, ended.signal]) }
      const api = config.generation === 'runtime' ? createRuntimeTask(options) : createAppioTask(program, options)
      // A SuperExec of ours keeps the task alive itself.
      using _heartbeats = config.token === undefined ? undefined : startHeartbeats(api, () => ended.abort())
      const reported = await runReported({ api, config, log, leaveLastWords }, runTask)
      if (signal.aborted) return 0
      if (!reported) return 1
      // The next message would come to lie beside the last one and its reply.
      collectLargeGarbage()
    }
    return 0
  }
}

/**
 * Runs a task and returns whether the server knows how it ended. A failure of the runtime is reported at once: without
 * that, only the end of the lease would tell of it.
 */
export async function runReported(task: TaskContext, runTask: (task: TaskContext) => Promise<void>): Promise<boolean> {
  const { api, log } = task
  try {
    try {
      await runTask(task)
    } catch (error) {
      if (error instanceof TaskEndedError || api.signal.aborted) throw error
      await ensureGoesOn(api, error)
      const details = `The task could not be run: ${errorText(error)}`.slice(0, detailsLengthMax)
      log.error(details)
      await api.finish({ subStatus: 'failed', details })
    }
    return true
  } catch (error) {
    if (error instanceof TaskEndedError || api.signal.aborted) {
      log.info('The task was ended: its run has ended, or was stopped')
      return true
    }
    log.error(`The end of the task could not be reported: ${errorText(error)}`)
    return false
  }
}

/**
 * Throws a TaskEndedError if the server has ended the task. After the end of a run its objects are gone, which is no fault:
 * the end of the task may be heard a moment later than that.
 */
export async function ensureGoesOn(api: TaskApi, error: unknown): Promise<void> {
  const waitMs = error instanceof ObjectsUnavailableError ? runEndMs : 0
  const goesOn = await api.sendHeartbeat({ waitMs }).then(
    ({ success }) => success,
    // A server that does not respond to this is for the report of the failure.
    (failure: unknown) => !(failure instanceof TaskEndedError),
  )
  if (!goesOn) throw new TaskEndedError('The server has ended the task.', { cause: error })
}

const runEndMs = 1000
const detailsLengthMax = 4000
