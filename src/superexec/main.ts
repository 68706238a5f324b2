import { createAppioSource } from '../app-api/appio-source.ts'
import { findGeneration } from '../app-api/generation.ts'
import { createRuntimeSource } from '../app-api/runtime-source.ts'
import type { AppGeneration } from '../app-api/task-api.ts'
import type { TaskSource } from '../app-api/task-source.ts'
import { systemClock } from '../base/clock.ts'
import { errorText, UsageError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { consoleLog, createProgramLogger } from '../base/log-sinks.ts'
import { watchParent } from '../base/parent-watch.ts'
import type { Main } from '../base/program.ts'
import { backoffMs } from '../base/retry.ts'
import { formatAddress } from '../rpc/address.ts'
import { createChannel, RpcError } from '../rpc/channel.ts'
import { startHealthServer } from '../rpc/health.ts'
import { parseSuperexecConfig, type SuperexecConfig } from './config.ts'
import { Launcher } from './launcher.ts'

/** `flower-superexec`: asks for tasks and launches an app process for each. */
export const main: Main = async (argv, signal) => {
  const config = await parseSuperexecConfig(argv)
  if (!config) return 0
  const log = createProgramLogger(consoleLog)
  const parentGone = new AbortController()
  using _watch = watchParent(config.parentPid, () => parentGone.abort())
  const stop = AbortSignal.any([signal, parentGone.signal])
  await using stack = new AsyncDisposableStack()
  if (config.healthAddress) {
    const health = stack.use(await startHealthServer(config.healthAddress, log))
    log.info(`Starting gRPC health server on ${formatAddress(health.address)}`)
  }
  const trouble = new Trouble(config.serverAddress, log, stop)
  const generation = await trouble.overcome(() => findGeneration(config.serverAddress, config.tls))
  if (generation === undefined) return 0
  const source = stack.use(openSource(config, generation, log))
  const launcher = new Launcher(config, source, log)
  stack.defer(() => launcher.close())
  while (!stop.aborted) {
    const acquired = await trouble.overcome(() => source.acquire(stop))
    if (!acquired) break
    launcher.endRuns(acquired.endedRunIds)
    if (acquired.task) launcher.launch(acquired.task)
    else if (!acquired.waited) await systemClock.sleep(pollMs, stop).catch(() => {})
  }
  return 0
}

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

/** Tries again while the server cannot be reached, and tells of it once, and again when it is over. */
class Trouble {
  readonly #address: string
  readonly #log: Logger
  readonly #signal: AbortSignal
  #pauses = backoffMs()
  #since: number | undefined

  constructor(address: string, log: Logger, signal: AbortSignal) {
    this.#address = address
    this.#log = log
    this.#signal = signal
  }

  /** `undefined` when the program ends. Throws what no waiting would mend. */
  async overcome<T>(ask: () => Promise<T>): Promise<T | undefined> {
    while (!this.#signal.aborted) {
      try {
        const answer = await ask()
        if (this.#since !== undefined)
          this.#log.info('Connection successful again', { afterMs: systemClock.now() - this.#since })
        this.#since = undefined
        this.#pauses = backoffMs()
        return answer
      } catch (error) {
        if (this.#signal.aborted) return undefined
        if (!(error instanceof RpcError && error.retryable)) throw this.#explain(error)
        if (this.#since === undefined) this.#log.warn(`Waiting for ${this.#address}: ${errorText(error)}`)
        this.#since ??= systemClock.now()
        await systemClock.sleep(this.#pauses.next().value, this.#signal).catch(() => {})
      }
    }
    return undefined
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof RpcError)) return error
    const refused = `${this.#address} does not accept this SuperExec (${error.message})`
    const secret = `${refused}: give the file with the server's secret as --superexec-auth-secret-file.`
    return new UsageError(error.status === 'unauthenticated' ? secret : error.message, { cause: error })
  }
}
