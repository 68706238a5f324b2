import type { ChildProcess } from 'node:child_process'
import type { AppGeneration, AppProgram } from '../app-api/task-api.ts'
import type { startProgram } from '../base/child-program.ts'
import { limits } from '../base/limits.ts'
import type { LauncherConfig } from './config.ts'
import { addressFlag, endApp, type StartedApp, startedApp } from './started-app.ts'

/** How long after the end of an app another process is started: what follows the end of a run comes first. */
const startAfterMs = 2000
/** How long that process waits for a task. */
const waitMs = 15 * 60_000

/** A process that waits for its first task, or the pause before its start. */
interface Ready {
  timer: NodeJS.Timeout
  process?: { readonly child: ChildProcess; readonly started: StartedApp }
}

/**
 * Starts our own app programs. To start one takes longer than a round of a small model, so after the end of an app one process
 * of the same program is started in advance, unless memory is scarce. It knows neither a run nor an app, and works for the
 * first run that needs it.
 */
export class ReadyApps {
  readonly #start: (program: AppProgram, title: string | undefined, isReady: boolean) => ChildProcess
  /** At most one of each program and title. */
  readonly #ready = new Map<string, Ready>()
  #isClosed = false

  /** @param startApp starts one of our programs; tests replace it. */
  constructor(config: LauncherConfig, generation: AppGeneration, startApp: typeof startProgram) {
    this.#start = (program, title, isReady) => {
      const args = [addressFlag(generation, program), config.serverAddress, ...config.trustArguments]
      args.push('--parent-pid', String(process.pid), '--token-channel', ...(isReady ? ['--ready'] : []))
      // The log of a ServerApp travels to the SuperLink; what it prints need not appear here as well.
      const stdout = program === 'flwr-serverapp' ? 'ignore' : 'pipe'
      return startApp(program, args, { stdio: ['ignore', stdout, 'pipe', 'pipe'], title })
    }
  }

  /**
   * Returns a process that waits for its first task. Throws if the system cannot start one.
   *
   * @param title what the command line of the process begins with.
   */
  take(program: AppProgram, title: string | undefined): ChildProcess {
    const { process } = this.#remove(keyOf(program, title)) ?? {}
    return process && !process.started.isOver ? process.child : this.#start(program, title, false)
  }

  /** An app has ended: the next run finds a process that has started. */
  prepare(program: AppProgram, title: string | undefined): void {
    const key = keyOf(program, title)
    if (this.#isClosed || this.#ready.has(key)) return
    const timer = setTimeout(() => {
      this.#ready.delete(key)
      // Of the machine, or of the container if that has less.
      if (process.availableMemory() >= limits.readyAppFreeMemoryMin) this.#begin(key, program, title)
    }, startAfterMs)
    this.#ready.set(key, { timer })
  }

  /** Ends the processes that wait for their first task, and starts none in advance from now on. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#ready.keys()].map((key) => this.#end(key)))
  }

  #begin(key: string, program: AppProgram, title: string | undefined): void {
    try {
      const child = this.#start(program, title, true)
      const ready = { timer: setTimeout(() => this.#end(key), waitMs), process: { child, started: startedApp(child) } }
      this.#ready.set(key, ready)
      void ready.process.started.ended.then(() => this.#ready.get(key) === ready && this.#remove(key))
    } catch {
      // The system has no room for it now. A task that needs a process tries again, and reports it.
    }
  }

  async #end(key: string): Promise<void> {
    const { process } = this.#remove(key) ?? {}
    if (!process) return
    endApp(process.started)
    await process.started.ended
  }

  #remove(key: string): Ready | undefined {
    const ready = this.#ready.get(key)
    clearTimeout(ready?.timer)
    this.#ready.delete(key)
    return ready
  }
}

const keyOf = (program: AppProgram, title = ''): string => `${program} ${title}`
