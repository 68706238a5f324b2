import type { ChildProcess } from 'node:child_process'
import type { LastWords } from '../app-api/last-words.ts'
import type { AppGeneration, AppProgram } from '../app-api/task-api.ts'
import type { AcquiredTask, TaskSource } from '../app-api/task-source.ts'
import { startProgram } from '../base/child-program.ts'
import type { Logger } from '../base/log.ts'
import { componentLanguage } from '../fab/component.ts'
import type { SuperexecConfig } from './config.ts'
import { PythonApps } from './python-apps.ts'
import { endApp, type StartedApp, startedApp } from './started-app.ts'
import { TaskGuard } from './task-guard.ts'

/** How long a warm process waits for the next task of its run. */
const idleMs = 60_000
/** How long a task waits for a process that works on another: less than it takes to start one. */
const parkMs = 50

/** An app process of ours: it runs one task at a time, for one run only. */
interface AppProcess {
  readonly child: ChildProcess
  readonly started: StartedApp
  readonly runId: bigint
  readonly program: AppProgram
  /** The task it works on; absent while it waits for the next. */
  guard: TaskGuard | undefined
  idleTimer: NodeJS.Timeout | undefined
  /** Its run has ended: it finishes its task, if it may, and then ends. */
  runEnded: boolean
}

/**
 * Runs each task in an app process of its own. Our own ClientApp processes stay warm for the next task of the same run;
 * they are never shared between runs. Tokens travel over the channel between the processes, never in arguments.
 */
export class Launcher {
  readonly #config: SuperexecConfig
  readonly #log: Logger
  readonly #source: TaskSource
  readonly #started = new Set<StartedApp>()
  readonly #apps = new Set<AppProcess>()
  readonly #idle: AppProcess[] = []
  /** Tasks that wait a moment for a process that is about to be idle. */
  readonly #waiting = new Map<AcquiredTask, NodeJS.Timeout>()
  readonly #python: PythonApps

  constructor(config: SuperexecConfig, source: TaskSource, log: Logger) {
    this.#config = config
    this.#python = new PythonApps(config)
    this.#source = source
    this.#log = log
  }

  launch(task: AcquiredTask): void {
    this.#log.info('Launching an app', { type: task.program, run: task.runId, task: task.taskId })
    if (task.component !== undefined && componentLanguage(task.component) === 'python') {
      this.#launchPython(task)
      return
    }
    const idle = this.#takeIdle(task)
    if (idle) this.#handOver(task, idle)
    else if (this.#isAtWork(task)) this.#waitForProcess(task)
    else this.#handOver(task, this.#start(task))
  }

  #handOver(task: AcquiredTask, app: AppProcess): void {
    app.guard = this.#guard(task, app.started)
    app.guard.keepAlive()
    const wantsLastWords = app.guard.wantsLastWords
    app.child.send({ token: task.token, wantsLastWords }, (error) => {
      // It ended before it could take the task: that is reported when its end is seen.
      if (error) this.#log.debug('A token could not be handed over', { pid: app.child.pid })
    })
  }

  #launchPython(task: AcquiredTask): void {
    const started = this.#python.start(task, this.#source.generation)
    if (typeof started === 'string') {
      this.#guard(task, undefined).end('no Python', started)
      return
    }
    // Python's app processes keep their task alive themselves.
    const guard = this.#guard(task, started)
    this.#own(started, (outcome) => {
      const missing = outcome.startsWith('could not be started')
      guard.end(
        outcome,
        missing ? `The app needs Python: ${this.#python.pathOf(task)} cannot be started at this site` : undefined,
      )
    })
  }

  #guard(task: AcquiredTask, app: StartedApp | undefined): TaskGuard {
    return new TaskGuard({ source: this.#source, task, log: this.#log, kill: () => app && endApp(app) })
  }

  /** Processes that wait for the next task of these runs wait in vain, and those at work will. */
  endRuns(runIds: readonly bigint[]): void {
    this.#python.endRuns(runIds)
    for (const app of this.#apps) {
      if (!runIds.includes(app.runId)) continue
      app.runEnded = true
      if (this.#idle.includes(app)) endApp(app.started)
    }
  }

  /** Ends every app that was launched here. */
  async close(): Promise<void> {
    for (const timer of this.#waiting.values()) clearTimeout(timer)
    this.#waiting.clear()
    const all = [...this.#started]
    for (const app of all) endApp(app)
    await Promise.all(all.map((app) => app.ended))
    this.#python.close()
  }

  #takeIdle(task: AcquiredTask): AppProcess | undefined {
    const index = this.#idle.findIndex((one) => serves(one, task) && one.child.connected)
    if (index < 0) return undefined
    const [app] = this.#idle.splice(index, 1)
    clearTimeout(app?.idleTimer)
    return app
  }

  /** Whether a process of the run works on an earlier task: it may be this moment that it has finished. */
  #isAtWork(task: AcquiredTask): boolean {
    return [...this.#apps].some((app) => serves(app, task) && app.guard !== undefined)
  }

  /** The server hears of the end of a task a moment before we do, and hands out the next at once. */
  #waitForProcess(task: AcquiredTask): void {
    const timer = setTimeout(() => {
      this.#waiting.delete(task)
      this.#handOver(task, this.#start(task))
    }, parkMs)
    this.#waiting.set(task, timer)
  }

  #start(task: AcquiredTask): AppProcess {
    const { serverAddress, trustArguments } = this.#config
    const { program, runId } = task
    const args = [addressFlag(this.#source.generation, program), serverAddress, ...trustArguments]
    args.push('--parent-pid', String(process.pid), '--token-ipc')
    const child = startProgram(program, args, {
      // The log of a ServerApp travels to the SuperLink; what it prints need not appear here as well.
      stdio:
        program === 'flwr-serverapp' ? ['ignore', 'ignore', 'pipe', 'ipc'] : ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const started = startedApp(child)
    const app: AppProcess = { child, started, runId, program, guard: undefined, idleTimer: undefined, runEnded: false }
    this.#apps.add(app)
    child.on('message', (message: { lastWords?: LastWords }) => {
      if (message.lastWords) app.guard?.remember(message.lastWords)
      else this.#park(app)
    })
    const lastWords = child.stderr ? keepLastLine(child.stderr) : () => ''
    this.#own(started, (outcome) => {
      this.#apps.delete(app)
      app.guard?.end(`${outcome}${lastWords()}`)
    })
    return app
  }

  /** The process has finished its task and waits for the next. A ServerApp has but one. */
  #park(app: AppProcess): void {
    app.guard?.release()
    app.guard = undefined
    if (app.program === 'flwr-serverapp' || app.runEnded) {
      endApp(app.started)
      return
    }
    for (const [task, timer] of this.#waiting) {
      if (!serves(app, task)) continue
      clearTimeout(timer)
      this.#waiting.delete(task)
      this.#handOver(task, app)
      return
    }
    app.idleTimer = setTimeout(() => endApp(app.started), idleMs)
    this.#idle.push(app)
  }

  #own(started: StartedApp, onEnd: (outcome: string) => void): void {
    this.#started.add(started)
    void started.ended.then((outcome) => {
      this.#started.delete(started)
      const index = this.#idle.findIndex((one) => one.started === started)
      if (index >= 0) clearTimeout(this.#idle.splice(index, 1)[0]?.idleTimer)
      this.#log.debug('An app process ended', { pid: started.pid, outcome })
      onEnd(outcome)
    })
  }
}

function serves(app: AppProcess, task: AcquiredTask): boolean {
  return app.runId === task.runId && app.program === task.program
}

/** How an app process is told where its server is, in the words of the server's generation. */
function addressFlag(generation: AppGeneration, program: AppProgram): string {
  if (generation === 'runtime') return '--runtime-api-address'
  return program === 'flwr-serverapp' ? '--serverappio-api-address' : '--clientappio-api-address'
}

/** What a process said last, for the report of its end: the error that ended it, where there is one. */
function keepLastLine(stream: NodeJS.ReadableStream): () => string {
  let tail = ''
  stream.on('data', (chunk: Buffer) => {
    tail = `${tail}${chunk.toString()}`.slice(-lastWordsMax)
  })
  return () => {
    const lines = tail.trim().split('\n')
    const line = lines.findLast((one) => /^\S*Error\b/.test(one)) ?? lines.at(-1) ?? ''
    return line === '' ? '' : `: ${line}`
  }
}

const lastWordsMax = 2000
