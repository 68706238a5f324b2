import type { ChildProcess } from 'node:child_process'
import type { Duplex } from 'node:stream'
import type { AppGeneration, AppProgram } from '../app-api/task-api.ts'
import type { AcquiredTask } from '../app-api/task-source.ts'
import { ended } from '../base/child-program.ts'

/** An app process, whichever program started it. */
export interface StartedApp {
  readonly pid: number | undefined
  /** How it ended, in words. */
  readonly ended: Promise<string>
  readonly isOver: boolean
  kill(signal: 'SIGTERM' | 'SIGKILL'): void
}

/** Flower runs the ServerApp of a simulation in a program of this name, and operators look for it with `pgrep -f`. */
export function titleOf({ simulates = false }: Pick<AcquiredTask, 'simulates'>): string | undefined {
  return simulates ? 'flwr-simulation' : undefined
}

export function startedApp(child: ChildProcess): StartedApp {
  return {
    pid: child.pid,
    ended: ended(child),
    get isOver() {
      return child.exitCode !== null || child.signalCode !== null
    },
    kill: (signal) => void child.kill(signal),
  }
}

const killAfterMs = 2000

/** Asks a process to end, and ends it when it does not listen: an app may be busy computing. */
export function endApp(app: StartedApp): void {
  if (app.isOver) return
  app.kill('SIGTERM')
  const timer = setTimeout(() => app.kill('SIGKILL'), killAfterMs)
  void app.ended.then(() => clearTimeout(timer))
}

/** How an app process is told where its server is, in the words of the server's generation. */
export function addressFlag(generation: AppGeneration, program: AppProgram): string {
  if (generation === 'runtime') return '--runtime-api-address'
  return program === 'flwr-serverapp' ? '--serverappio-api-address' : '--clientappio-api-address'
}

/** Throws if the system could not start the process: then it has no pipes. */
export function channelOf(child: ChildProcess): Duplex {
  const pipe = child.stdio?.[3]
  if (!pipe) throw new Error('the system has no descriptors left')
  return pipe as Duplex
}
