import { createAppioTask } from '../app-api/appio-task.ts'
import type { LastWords } from '../app-api/last-words.ts'
import { createRuntimeTask } from '../app-api/runtime-task.ts'
import { type AppProgram, type TaskApi, TaskEndedError } from '../app-api/task-api.ts'
import { errorText } from '../base/errors.ts'
import type { Main } from '../base/program.ts'
import { type Channel, createChannel } from '../rpc/channel.ts'
import { type AppLog, createAppLog } from './app-log.ts'
import { type AppConfig, parseAppConfig } from './config.ts'
import { guardParent } from './guard.ts'
import { startHeartbeats } from './heartbeats.ts'
import { taskTokens } from './tokens.ts'

/** One task in the making: what the work of either kind of app needs. */
export interface TaskContext {
  readonly api: TaskApi
  readonly config: AppConfig
  readonly log: AppLog
  /** Leaves with the parent what it shall say if this process dies; absent when nobody would. */
  readonly leaveLastWords: ((words: LastWords) => void) | undefined
}

/**
 * The frame of both app programs: takes one token after the other and runs a task with each. Answers a non-zero status
 * when the last task could not be run to an end that the server was told of.
 */
export function appMain(program: AppProgram, runTask: (task: TaskContext) => Promise<void>): Main {
  return async (argv, signal) => {
    const config = await parseAppConfig(program, argv)
    if (!config) return 0
    const log = createAppLog()
    guardParent(config.parentPid)
    using channel = createChannel({
      address: config.serverAddress,
      tls: config.tls,
      transport: config.generation === 'runtime' ? 'http' : 'grpc',
      component: program,
    })
    let status = 0
    for await (const { token, wantsLastWords } of taskTokens(config.token, signal)) {
      const leaveLastWords = wantsLastWords ? (lastWords: LastWords) => void process.send?.({ lastWords }) : undefined
      status = await runOne({ program, config, log, token, channel, signal, leaveLastWords }, runTask)
      if (signal.aborted) break
    }
    return signal.aborted ? 0 : status
  }
}

async function runOne(
  task: Omit<TaskContext, 'api'> & { program: AppProgram; token: string; channel: Channel; signal: AbortSignal },
  runTask: (task: TaskContext) => Promise<void>,
): Promise<number> {
  const { program, config, log, token, channel, signal } = task
  const ended = new AbortController()
  const options = { channel, token, log, signal: AbortSignal.any([signal, ended.signal]) }
  const api = config.generation === 'runtime' ? createRuntimeTask(options) : createAppioTask(program, options)
  // A SuperExec of ours keeps the task alive itself.
  using _heartbeats = config.token === undefined ? undefined : startHeartbeats(api, () => ended.abort())
  try {
    await runTask({ api, config, log, leaveLastWords: task.leaveLastWords })
    return 0
  } catch (error) {
    if (error instanceof TaskEndedError || ended.signal.aborted) {
      log.info('The task was ended by the server')
      return 0
    }
    if (signal.aborted) return 0
    log.error(`The task could not be run: ${errorText(error)}`)
    return 1
  }
}
