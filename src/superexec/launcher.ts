import type { ChildProcess } from 'node:child_process'
import type { AppGeneration, AppProgram } from '../app-api/task-api.ts'
import type { AcquiredTask, TaskSource } from '../app-api/task-source.ts'
import { ended, startProgram } from '../base/child-program.ts'
import type { Logger } from '../base/log.ts'
import { componentLanguage } from '../fab/component.ts'
import type { SuperexecConfig } from './config.ts'
import { startPythonApp } from './python-app.ts'
import { TaskGuard } from './task-guard.ts'

/** How long a warm process waits for the next task of its run. */
const idleMs = 60_000

/** An app process of ours: it runs one task at a time, for one run only. */
interface AppProcess {
  readonly child: ChildProcess
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
  readonly #children = new Set<ChildProcess>()
  readonly #apps = new Set<AppProcess>()
  readonly #idle: AppProcess[] = []

  constructor(config: SuperexecConfig, source: TaskSource, log: Logger) {
    this.#config = config
    this.#source = source
    this.#log = log
  }

  launch(task: AcquiredTask): void {
    this.#log.info('Launching an app', { type: task.program, run: task.runId, task: task.taskId })
    if (task.component !== undefined && componentLanguage(task.component) === 'python') {
      this.#launchPython(task)
      return
    }
    const app = this.#takeIdle(task) ?? this.#start(task)
    app.guard = this.#guard(task, app.child)
    app.guard.keepAlive()
    app.child.send({ token: task.token }, (error) => {
      // It ended before it could take the task: that is reported when its end is seen.
      if (error) this.#log.debug('A token could not be handed over', { pid: app.child.pid })
    })
  }

  #launchPython(task: AcquiredTask): void {
    const child = startPythonApp(this.#config, task)
    // Python's app processes keep their task alive themselves.
    const guard = this.#guard(task, child)
    this.#own(child, (outcome) => {
      const missing = outcome.startsWith('could not be started')
      guard.end(
        outcome,
        missing ? `The app needs Python: ${child.spawnfile} cannot be started at this site` : undefined,
      )
    })
  }

  #guard(task: AcquiredTask, child: ChildProcess): TaskGuard {
    return new TaskGuard({ source: this.#source, task, log: this.#log, kill: () => kill(child) })
  }

  /** Processes that wait for the next task of these runs wait in vain, and those at work will. */
  endRuns(runIds: readonly bigint[]): void {
    for (const app of this.#apps) {
      if (!runIds.includes(app.runId)) continue
      app.runEnded = true
      if (this.#idle.includes(app)) kill(app.child)
    }
  }

  /** Ends every app that was launched here. */
  async close(): Promise<void> {
    const all = [...this.#children]
    for (const child of all) kill(child)
    await Promise.all(
      all.map((child) => (child.exitCode === null && child.signalCode === null ? ended(child) : undefined)),
    )
  }

  #takeIdle(task: AcquiredTask): AppProcess | undefined {
    const index = this.#idle.findIndex(
      (one) => one.runId === task.runId && one.program === task.program && one.child.connected,
    )
    if (index < 0) return undefined
    const [app] = this.#idle.splice(index, 1)
    clearTimeout(app?.idleTimer)
    return app
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
    const app: AppProcess = { child, runId, program, guard: undefined, idleTimer: undefined, runEnded: false }
    this.#apps.add(app)
    child.on('message', () => this.#park(app))
    const lastWords = child.stderr ? keepLastLine(child.stderr) : () => ''
    this.#own(child, (outcome) => {
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
      kill(app.child)
      return
    }
    app.idleTimer = setTimeout(() => kill(app.child), idleMs)
    this.#idle.push(app)
  }

  #own(child: ChildProcess, onEnd: (outcome: string) => void): void {
    this.#children.add(child)
    void ended(child).then((outcome) => {
      this.#children.delete(child)
      const index = this.#idle.findIndex((one) => one.child === child)
      if (index >= 0) clearTimeout(this.#idle.splice(index, 1)[0]?.idleTimer)
      this.#log.debug('An app process ended', { pid: child.pid, outcome })
      onEnd(outcome)
    })
  }
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

/** Asks a process to end, and ends it when it does not listen: an app may be busy computing. */
function kill(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  child.once('exit', () => clearTimeout(timer))
}

const killAfterMs = 2000
