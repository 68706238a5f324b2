import { type ChildProcess, spawn } from 'node:child_process'
import type { Duplex, Readable } from 'node:stream'
import type { TaskTrace } from '../app-api/task-source.ts'
import { ended } from '../base/child-program.ts'
import { readJsonLines } from '../base/json-lines.ts'
import type { AppConsole, ConsoleOwner } from './app-console.ts'
import { ConsoleSockets } from './console-sockets.ts'
import { unbufferedPython } from './python-environment.ts'
import { forkServerScript } from './python-fork-server-script.ts'
import type { StartedApp } from './started-app.ts'

/** A report names a process and how it ended. */
const reportBytesMax = 1024

export interface ForkServerOptions {
  readonly interpreter: string
  readonly program: string
  /** The libraries that the first app imports are imported by the server too: only for apps that may share that. */
  readonly keepImports: boolean
  readonly idleMs: number
}

/** What a fork runs. */
export interface ForkedProgram {
  readonly runId: bigint
  readonly args: readonly string[]
  /** Whether its process may run further tasks of the run, if the program lets it. */
  readonly again: boolean
  readonly trace?: TaskTrace | undefined
  readonly owner: ConsoleOwner
  /** Starts the program without a fork server, if that ends before it has forked; absent for a worker. */
  readonly alone?: () => StartedApp
  /** Set for a worker: takes its connection for frames. */
  readonly onConnection?: (pipe: Duplex) => void
}

/**
 * Starts ClientApps of a Python environment in a hundredth of a second instead of one: a process that has imported Flower,
 * and never an app, forks. What runs in the fork is the program that the environment itself would start, with the same
 * arguments, so the release of Flower does not matter. After a task that ended well the fork waits for the next task of its
 * run, which then begins with the app imported.
 */
export class PythonForkServer {
  readonly #server: ChildProcess
  readonly #forks = new Map<number, Fork>()
  readonly #unborn: Fork[] = []
  readonly #idleMs: number
  readonly #console: AppConsole
  readonly #sockets = new ConsoleSockets()
  #idleTimer: NodeJS.Timeout | undefined
  #hasForked = false
  #open = true
  /** It ended before it forked anything: this environment cannot be used like that. */
  hasFailed = false
  readonly ended: Promise<void>

  /** The owner is that of what the server itself prints, and libraries while it imports them. */
  constructor(options: ForkServerOptions, console: AppConsole, owner: ConsoleOwner) {
    this.#idleMs = options.idleMs
    this.#console = console
    this.#server = spawn(
      options.interpreter,
      ['-c', forkServerScript, options.program, options.keepImports ? 'keep' : ''],
      { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], env: unbufferedPython() },
    )
    console.show([this.#server.stdout, this.#server.stderr], owner)
    this.#server.stdin?.on('error', () => {})
    // Absent if the system could not start it, which its end tells.
    const reports = this.#server.stdio?.[3] as Readable | undefined
    // Libraries that apps import can write there too.
    if (reports)
      readJsonLines(reports, {
        lineBytesMax: () => reportBytesMax,
        onValue: (value) => this.#hear(value),
        onNonsense: () => {},
      })
    this.ended = ended(this.#server).then((outcome) => this.#lost(outcome))
  }

  /** Returns `undefined` if this server has ended or is ending: then another one has to be started. */
  start({ runId, args, again, trace, owner, alone, onConnection }: ForkedProgram): StartedApp | undefined {
    if (!this.#open) return undefined
    clearTimeout(this.#idleTimer)
    const fork = new Fork(alone)
    this.#unborn.push(fork)
    const console = this.#sockets.open(this.#console.open(owner), fork.ended)
    const worker = onConnection && {
      frames: this.#sockets.open(onConnection, fork.ended, 1),
      parent: process.pid,
    }
    this.#write({ run: String(runId), args, again, trace: trace?.parent, console, ...worker })
    return fork
  }

  /** Ends the processes that wait for the next task of these runs. */
  endRuns(runIds: readonly bigint[]): void {
    if (this.#open && runIds.length > 0) this.#write({ ended: runIds.map(String) })
  }

  #write(line: unknown): void {
    this.#server.stdin?.write(`${JSON.stringify(line)}\n`)
  }

  /** Its forks live on: the program that started them ends them. */
  close(): void {
    this.#open = false
    clearTimeout(this.#idleTimer)
    this.#server.stdin?.end()
  }

  #hear(value: unknown): void {
    const { pid, status } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
    if (!Number.isSafeInteger(pid) || (pid as number) <= 1) return
    if (status === undefined) this.#forked(pid as number)
    else if (Number.isSafeInteger(status)) this.#forkEnded(pid as number, status as number)
  }

  /** Forks are reported in the order in which they were requested. */
  #forked(pid: number): void {
    const fork = this.#unborn.shift()
    if (!fork) return
    this.#hasForked = true
    this.#forks.set(pid, fork)
    fork.born(pid)
  }

  #forkEnded(pid: number, status: number): void {
    this.#forks.get(pid)?.end(status < 0 ? `ended by signal ${-status}` : `exit status ${status}`)
    this.#forks.delete(pid)
    if (this.#forks.size + this.#unborn.length > 0) return
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(() => this.close(), this.#idleMs)
  }

  /** The ends of its forks cannot be seen any more, so they are ended. */
  #lost(outcome: string): void {
    this.close()
    this.hasFailed = !this.#hasForked
    for (const fork of this.#unborn.splice(0)) fork.startAlone()
    for (const fork of this.#forks.values()) {
      fork.kill('SIGKILL')
      fork.end(`lost its parent: ${outcome}`)
    }
    this.#forks.clear()
    this.#sockets[Symbol.dispose]()
  }
}

class Fork implements StartedApp {
  readonly ended: Promise<string>
  readonly #resolve: (outcome: string) => void
  pid: number | undefined
  isOver = false
  #wanted: 'SIGTERM' | 'SIGKILL' | undefined
  readonly #alone: (() => StartedApp) | undefined

  constructor(alone: (() => StartedApp) | undefined) {
    this.#alone = alone
    const { promise, resolve } = Promise.withResolvers<string>()
    this.ended = promise
    this.#resolve = resolve
  }

  /** A fork that was given up before may come all the same. */
  born(pid: number): void {
    this.pid = pid
    if (this.#wanted) this.#signal(pid, this.#wanted)
  }

  startAlone(): void {
    if (this.#wanted || !this.#alone) {
      this.end('ended before it was started')
      return
    }
    const app = this.#alone()
    if (app.pid !== undefined) this.born(app.pid)
    void app.ended.then((outcome) => this.end(outcome))
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.isOver) return
    this.#wanted = signal
    if (this.pid !== undefined) this.#signal(this.pid, signal)
    // The server does not fork, for instance because it still imports: nothing is left to wait for.
    else if (signal === 'SIGKILL') this.end('ended before it was started')
  }

  #signal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
    try {
      process.kill(pid, signal)
    } catch {
      // It has ended; that is told in a moment.
    }
  }

  end(outcome: string): void {
    this.isOver = true
    this.#resolve(outcome)
  }
}
