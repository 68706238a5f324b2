import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Clock } from './clock.ts'
import type { Logger } from './log.ts'
import { backoffMs } from './retry.ts'

const startModule = join(import.meta.dirname, '..', '..', 'bin', 'start.mjs')

/**
 * Removes the secrets of a trace collector from the environment, so that children do not inherit them. To be called after
 * `openTraces`, whose library reads them when it is set up.
 */
export function forgetCollectorSecrets(): void {
  for (const name of Object.keys(process.env))
    if (/^OTEL_EXPORTER_OTLP_(?:[A-Z]+_)?HEADERS$/.test(name)) delete process.env[name]
}

/** Starts one of our own programs by its name in `bin/`, on the Node that we run on. */
export function startProgram(
  name: string,
  args: readonly string[],
  options: {
    env?: NodeJS.ProcessEnv
    stdio?: ('pipe' | 'inherit' | 'ignore' | 'ipc' | number)[]
    detached?: boolean
    /** What the command line of the process begins with; the path of Node by default. */
    title?: string | undefined
  } = {},
): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, startModule, name, ...args], {
    stdio: options.stdio ?? ['ignore', 'inherit', 'inherit'],
    env: options.env ?? process.env,
    detached: options.detached ?? false,
    ...(options.title === undefined ? {} : { argv0: options.title }),
  })
}

/** Reason of a signal at which `keepRunning` leaves its child to itself instead of ending it. */
export const leaveChild = Symbol('leave the child to itself')

/**
 * Keeps a child program running until the signal: when it ends it is started again, with growing pauses. At the signal the
 * child is ended, unless the reason is {@link leaveChild}.
 */
export async function keepRunning(
  start: () => ChildProcess,
  options: {
    name: string
    clock: Clock
    log: Logger
    signal: AbortSignal
    /** Called when a child has ended by itself, with the instant of its start. */
    onEnd?: ((startedAt: number) => Promise<void>) | undefined
  },
): Promise<void> {
  const { name, clock, log, signal, onEnd } = options
  let pauses = backoffMs({ baseMs: 200, capMs: 20_000 })
  while (!signal.aborted) {
    const startedAt = clock.now()
    const child = start()
    const { promise: left, resolve: leave } = Promise.withResolvers<string>()
    const stop = (): void => void (signal.reason === leaveChild ? leave('left') : child.kill('SIGTERM'))
    signal.addEventListener('abort', stop, { once: true })
    const outcome = await Promise.race([ended(child), left])
    signal.removeEventListener('abort', stop)
    if (signal.aborted) return
    await onEnd?.(startedAt)
    if (clock.now() - startedAt > 60_000) pauses = backoffMs({ baseMs: 200, capMs: 20_000 })
    const pauseMs = pauses.next().value
    log.error(`${name} ended and is started again`, { outcome, afterMs: Math.round(pauseMs) })
    await clock.sleep(pauseMs, signal).catch(() => {})
  }
}

/** How a child ended, in words. */
export function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`could not be started: ${error.message}`))
    child.once('exit', (status, signal) => resolve(signal ? `ended by ${signal}` : `exit status ${status}`))
  })
}
