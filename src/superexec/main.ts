import { createAppioSource } from '../app-api/appio-source.ts'
import { findGeneration } from '../app-api/generation.ts'
import { createRuntimeSource } from '../app-api/runtime-source.ts'
import type { AppGeneration } from '../app-api/task-api.ts'
import type { Acquired, TaskSource } from '../app-api/task-source.ts'
import { forgetCollectorSecrets } from '../base/child-program.ts'
import { systemClock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { createProgramLogger } from '../base/log-sinks.ts'
import { watchParent } from '../base/parent-watch.ts'
import type { Main } from '../base/program.ts'
import { openTraces } from '../base/trace-export.ts'
import { formatAddress } from '../rpc/address.ts'
import { createChannel } from '../rpc/channel.ts'
import { startHealthServer } from '../rpc/health.ts'
import { parseSuperexecConfig, type SuperexecConfig } from './config.ts'
import { withTrace } from './launch-trace.ts'
import { Launcher } from './launcher.ts'
import { askForTask } from './next-task.ts'
import { removeAbandonedFiles } from './python-apps.ts'
import { ServerTrouble } from './server-trouble.ts'

/** `flower-superexec`: asks for tasks and launches an app process for each. */
export const main: Main = async (argv, signal) => {
  const config = await parseSuperexecConfig(argv)
  if (!config) return 0
  const log = createProgramLogger(config.log)
  const parentGone = new AbortController()
  using _watch = watchParent(config.parentPid, () => parentGone.abort())
  const stop = AbortSignal.any([signal, parentGone.signal])
  await removeAbandonedFiles()
  await using stack = new AsyncDisposableStack()
  if (config.healthAddress) {
    const health = stack.use(await startHealthServer(config.healthAddress, log))
    log.info(`Starting gRPC health server on ${formatAddress(health.address)}`)
  }
  const trouble = new ServerTrouble({ address: config.serverAddress, clock: systemClock, log, signal: stop })
  // Over TLS it is known, and nothing has been heard of the server yet.
  const generation =
    config.tls === 'insecure'
      ? await trouble.overcome(() => findGeneration(config.serverAddress, config.tls))
      : 'runtime'
  if (generation === undefined) return 0
  const source = stack.use(openSource(config, generation, log))
  const traces = stack.use(await openTraces(config.traceTarget, 'flower-superexec', { log, sendMs: traceSendMs }))
  forgetCollectorSecrets()
  const launcher = new Launcher(config, source, log)
  stack.defer(() => launcher.close())
  const acquire = ({ isRetry }: { isRetry: boolean }): Promise<Acquired> =>
    askForTask(source, { programs: launcher.programsWithRoom(), isRetry, signal: stop })
  while (!stop.aborted) {
    const acquired = await trouble.overcome(acquire).catch(async (error: unknown) => {
      // The next start of the server does not accept this program, and may be there before the end of the last is seen.
      if (config.keepAppsMs > 0) await systemClock.sleep(parentSeenMs, stop).catch(() => {})
      if (!parentGone.signal.aborted) throw error
    })
    if (!acquired) break
    launcher.endRuns(acquired.endedRunIds)
    if (acquired.task) launcher.launch(withTrace(acquired.task, traces, systemClock))
    else if (!acquired.waited) await systemClock.sleep(pollMs, stop).catch(() => {})
  }
  if (parentGone.signal.aborted && config.keepAppsMs > 0) {
    // The programs that read the log of the server may be gone too.
    process.stderr.on('error', () => {})
    await launcher.outlast({ clock: systemClock, keepMs: config.keepAppsMs, signal })
  }
  return 0
}

/** How long a collector of traces may hold up the end of this program. */
const traceSendMs = 1000

/** How long the end of the parent may remain unseen. */
const parentSeenMs = 1000

/** What upstream's SuperExec waits between two questions, for servers that do not hold them. */
const pollMs = 1000

function openSource(config: SuperexecConfig, generation: AppGeneration, log: Logger): TaskSource & Disposable {
  const { serverAddress: address, tls, program, secret } = config
  const transport = generation === 'runtime' ? 'http' : 'grpc'
  const channel = createChannel({ address, tls, transport, component: 'SuperExec' })
  const options = { channel, secret, program, log }
  const source = generation === 'runtime' ? createRuntimeSource(options) : createAppioSource(options)
  return Object.assign(source, { [Symbol.dispose]: () => channel.close() })
}
