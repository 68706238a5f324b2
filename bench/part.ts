import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** How long programs of a measurement that ran out of time have to end by themselves. */
const endingMs = 10_000

/**
 * Runs a part of the benchmarks in a process of its own, so that it can neither take the others with it nor keep them waiting:
 * after `limitMs` it is ended with all programs that it started. Returns why it has no figures, or `undefined` if it succeeded.
 */
export async function runPart(args: readonly string[], limitMs: number): Promise<string | undefined> {
  const script = join(import.meta.dirname, 'main.ts')
  // In a process group of its own, with the programs that it starts.
  const child = spawn(process.execPath, [...process.execArgv, script, ...args], { stdio: 'inherit', detached: true })
  const end = (name: NodeJS.Signals): void => {
    try {
      process.kill(-(child.pid ?? 0), name)
    } catch {
      // All of them have ended.
    }
  }
  const onInterrupt = (): void => end('SIGTERM')
  // Before this process ends for the same signal.
  process.prependOnceListener('SIGINT', onInterrupt).prependOnceListener('SIGTERM', onInterrupt)
  let isLate = false
  const limit = setTimeout(() => {
    isLate = true
    end('SIGTERM')
    setTimeout(() => end('SIGKILL'), endingMs).unref()
  }, limitMs)
  const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  clearTimeout(limit)
  process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt)
  if (isLate) {
    end('SIGKILL')
    return `not done after ${limitMs / 60_000} minutes`
  }
  return status === 0 ? undefined : `failed with ${signal ?? `status ${status}`}: the reason is above`
}
