import { spawn } from 'node:child_process'
import { type Duplex, PassThrough, type Readable, type Writable } from 'node:stream'
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
  /** The programs that it forks; a task that names none is of the first one. */
  readonly programs: readonly string[]
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
  /** One of the programs of the server. */
  readonly program?: string
  /** What is shown as its command. */
  readonly title?: readonly string[] | undefined
  /** Starts the program without a fork server, if that ends before it has forked; absent for a worker. */
  readonly alone?: () => StartedApp
  /** Set for a worker or a server: takes its connection for frames or lines. */
  readonly connection?: { readonly kind: 'frames' | 'server'; readonly take: (pipe: Duplex) => void }
}

/** The process of a server: it reads lines, and writes reports as lines. */
interface ServerProcess {
  readonly lines: Writable | null
  /** Absent if the system could not start the process, which its end tells. */
  readonly reports: Readable | undefined
  readonly ended: Promise<string>
}

/**
 * Starts ClientApps of a Python environment in a hundredth of a second instead of one: a process that has imported Flower,
 * and never an app, forks. What runs in the fork is the program that the environment itself would start, with the same
 * arguments, so the release of Flower does not matter. After a task that ended well the fork waits for the next task of its
 * run, which then begins with the app imported.
 */
export class PythonForkServer implements Disposable {
  readonly #server: ServerProcess
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

  /** Starts a process that imports the programs. The owner is that of what the server itself prints, and libraries while it imports them. */
  static open(options: ForkServerOptions, console: AppConsole, owner: ConsoleOwner): PythonForkServer {
    const child = spawn(options.interpreter, ['-c', forkServerScript, ...options.programs], {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
      env: unbufferedPython(),
    })
    console.show([child.stdout, child.stderr], owner)
    const reports = child.stdio?.[3] as Readable | undefined
    return new PythonForkServer({ lines: child.stdin, reports, ended: ended(child) }, console, options.idleMs)
  }

  private constructor(server: ServerProcess, console: AppConsole, idleMs: number) {
    this.#server = server
    this.#console = console
    this.#idleMs = idleMs
    server.lines?.on('error', () => {})
    // Libraries that apps import can write there too.
    if (server.reports)
      readJsonLines(server.reports, {
        lineBytesMax: () => reportBytesMax,
        onValue: (value) => this.#hear(value),
        onNonsense: () => {},
      })
    this.ended = server.ended.then((outcome) => this.#lost(outcome))
  }

  /**
   * Forks a server for the apps of one run, which begins with what this one has imported. The libraries that the first app
   * imports are imported by it too. Returns `undefined` if this server has ended or is ending.
   */
  forRun(runId: bigint, owner: ConsoleOwner): PythonForkServer | undefined {
    const [lines, reports] = [new PassThrough(), new PassThrough()]
    const take = (pipe: Duplex): void => {
      pipe.on('error', () => {})
      lines.pipe(pipe).pipe(reports)
    }
    const fork = this.start({ runId, args: [], again: false, owner, connection: { kind: 'server', take } })
    return fork && new PythonForkServer({ lines, reports, ended: fork.ended }, this.#console, this.#idleMs)
  }

  get isOpen(): boolean {
    return this.#open
  }

  /** Returns `undefined` if this server has ended or is ending: then another one has to be started. */
  start(forked: ForkedProgram): StartedApp | undefined {
    const { runId, args, again, trace, owner, program, title, alone, connection } = forked
    if (!this.#open) return undefined
    clearTimeout(this.#idleTimer)
    const fork = new Fork(alone)
    this.#unborn.push(fork)
    const console = this.#sockets.open(this.#console.open(owner), fork.ended)
    const connected = connection && {
      [connection.kind]: this.#sockets.open(connection.take, fork.ended, 1),
      parent: process.pid,
    }
    this.#write({ run: String(runId), args, again, trace: trace?.parent, console, program, title, ...connected })
    return fork
  }

  /** Ends the processes that wait for the next task of these runs. */
  endRuns(runIds: readonly bigint[]): void {
    if (this.#open && runIds.length > 0) this.#write({ ended: runIds.map(String) })
  }

  #write(line: unknown): void {
    this.#server.lines?.write(`${JSON.stringify(line)}\n`)
  }

  /** Its forks live on: the program that started them ends them. */
  close(): void {
    this.#open = false
    clearTimeout(this.#idleTimer)
    this.#server.lines?.end()
  }

  /** Closes the server after its forks have ended, and removes the sockets for their output. */
  [Symbol.dispose](): void {
    this.close()
    this.#sockets[Symbol.dispose]()
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
    this[Symbol.dispose]()
    this.hasFailed = !this.#hasForked
    for (const fork of this.#unborn.splice(0)) fork.startAlone()
    for (const fork of this.#forks.values()) {
      fork.kill('SIGKILL')
      fork.end(`lost its parent: ${outcome}`)
    }
    this.#forks.clear()
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
