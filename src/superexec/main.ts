import { create, toBinary } from '@bufbuild/protobuf'
import { systemClock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { consoleLog, createProgramLogger } from '../base/log-sinks.ts'
import { watchParent } from '../base/parent-watch.ts'
import type { Main } from '../base/program.ts'
import { backoffMs } from '../base/retry.ts'
import {
  type AcquireTaskRequest,
  AcquireTaskRequestSchema,
  type AcquireTaskResponse,
  Runtime,
} from '../gen/flwr/proto/runtime_pb.ts'
import { acquireTaskMethod, signSuperexecCall } from '../identity/superexec-signature.ts'
import { type Channel, createChannel, RpcError } from '../rpc/channel.ts'
import { startHealthServer } from '../rpc/health.ts'
import { parseSuperexecConfig, type SuperexecConfig } from './config.ts'
import { Launcher } from './launcher.ts'

/** `flower-superexec`: asks for tasks and launches an app process for each. */
export const main: Main = async (argv, signal) => {
  const config = parseSuperexecConfig(argv)
  if (!config) return 0
  const log = createProgramLogger(consoleLog)
  for (const warning of config.warnings) log.warn(warning)
  const parentGone = new AbortController()
  using _watch = watchParent(config.parentPid, () => parentGone.abort())
  const stop = AbortSignal.any([signal, parentGone.signal])
  await using stack = new AsyncDisposableStack()
  const channel = stack.use(
    createChannel({ address: config.runtimeAddress, tls: config.tls, transport: 'http', component: 'SuperExec' }),
  )
  const launcher = new Launcher(config, channel, log)
  stack.defer(() => launcher.close())
  if (config.healthAddress) stack.use(await startHealthServer(config.healthAddress, log))
  await acquireAndLaunch(config, channel, launcher, log, stop)
  return 0
}

const supportedTaskTypes = ['flwr-serverapp', 'flwr-clientapp']
/** What upstream's SuperExec waits between two questions, for servers that do not hold them. */
const pollMs = 1000
const waitMs = 25_000

async function acquireAndLaunch(
  config: SuperexecConfig,
  channel: Channel,
  launcher: Launcher,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let pauses = backoffMs()
  let troubleSince: number | undefined
  let endedRunsSeen = 0n
  while (!signal.aborted) {
    try {
      const request = create(AcquireTaskRequestSchema, { supportedTaskTypes, endedRunsSeen })
      const { message, waited } = await channel.call(Runtime.method.acquireTask, request, {
        signal,
        waitMs,
        headers: signedHeaders(config, request),
      })
      endedRunsSeen = message.endedRunsSeen ?? 0n
      launcher.endRuns(message.endedRunIds)
      if (troubleSince !== undefined)
        log.info('Connection successful again', { afterMs: systemClock.now() - troubleSince })
      troubleSince = undefined
      pauses = backoffMs()
      if (message.task) launch(launcher, message)
      else if (!waited) await systemClock.sleep(pollMs, signal)
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof RpcError && error.retryable)) throw error
      const pauseMs = pauses.next().value
      if (troubleSince === undefined) log.warn(`Waiting for ${config.runtimeAddress}: ${errorText(error)}`)
      troubleSince ??= systemClock.now()
      await systemClock.sleep(pauseMs, signal).catch(() => {})
    }
  }
}

function launch(launcher: Launcher, { task, token, component }: AcquireTaskResponse): void {
  if (!task) return
  launcher.launch({ taskId: task.taskId, runId: task.runId, type: task.type, component, token })
}

function signedHeaders({ secret }: SuperexecConfig, request: AcquireTaskRequest): Record<string, string> {
  if (!secret) return {}
  const signed = signSuperexecCall(
    secret,
    acquireTaskMethod,
    toBinary(AcquireTaskRequestSchema, request),
    systemClock.now(),
  )
  return {
    'flwr-superexec-ts': signed.timestamp,
    'flwr-superexec-nonce': signed.nonce,
    'flwr-superexec-body-sha256': signed.bodySha256,
    'flwr-superexec-signature': signed.signature,
  }
}
