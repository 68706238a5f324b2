import { LauncherChannel } from '../app-api/app-channel.ts'
import type { AppProgram } from '../app-api/task-api.ts'
import type { AcquiredTask, TaskSource } from '../app-api/task-source.ts'
import { startProgram } from '../base/child-program.ts'
import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { componentLanguage } from '../fab/component.ts'
import { AppConsole } from './app-console.ts'
import { AppRoom } from './app-room.ts'
import type { LauncherConfig } from './config.ts'
import { keepLastLine } from './last-line.ts'
import { PythonApps } from './python-apps.ts'
import { ReadyApps } from './ready-apps.ts'
import { RelayedMessages } from './relayed-messages.ts'
import { channelOf, endApp, type StartedApp, startedApp, titleOf } from './started-app.ts'
import { clientAppHeartbeatMs, TaskGuard } from './task-guard.ts'

/** How long a warm process waits for the next task of its run. */
const idleMs = 60_000
/** How long a task waits for a process that works on another: less than it takes to start one. */
const parkMs = 50
/** How often a disconnected server is checked for having been away too long. */
const lookEveryMs = 1000

/** A TypeScript app process: it runs one task at a time, and only tasks of one run. */
interface AppProcess {
  readonly channel: LauncherChannel
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
 * they are never shared between runs. Tokens travel over the channel between the processes, never in arguments. No app
 * can end this program: what its process sends is checked, and a failed start is the failure of its task alone.
 */
export class Launcher {
  readonly #config: LauncherConfig
  readonly #readyApps: ReadyApps
  readonly #log: Logger
  readonly #source: TaskSource
  readonly #started = new Set<StartedApp>()
  readonly #apps = new Set<AppProcess>()
  /** The guards of the running ServerApps. */
  readonly #serverGuards = new Map<StartedApp, TaskGuard>()
  readonly #room: AppRoom
  readonly #idle: AppProcess[] = []
  /** Tasks that wait a moment for a process that will be idle soon. */
  readonly #waiting = new Map<AcquiredTask, NodeJS.Timeout>()
  readonly #python: PythonApps
  readonly #relayed: RelayedMessages
  readonly #console: AppConsole

  /** `startApp` starts one of our programs; tests replace it. */
  constructor(config: LauncherConfig, source: TaskSource, log: Logger, startApp = startProgram) {
    this.#config = config
    this.#readyApps = new ReadyApps(config, source.generation, startApp)
    this.#console = new AppConsole(log)
    this.#room = new AppRoom(log)
    this.#python = new PythonApps(config, this.#console)
    this.#source = source
    this.#log = log
    this.#relayed = new RelayedMessages({
      ...{ source, log },
      startWorker: (task, onConnection) => this.#python.startWorker(task, onConnection),
      guard: (task, kill) => new TaskGuard({ source, task, log, kill }),
      adopt: (app, onEnd) => this.#adopt(app, onEnd),
      launchAlone: (task) => this.#attempt(task, () => this.#launchPython(task)),
    })
  }

  launch(task: AcquiredTask): void {
    this.#log.info('Launching an app', { type: task.program, run: task.runId, task: task.taskId })
    const language = task.component === undefined ? this.#config.apps : componentLanguage(task.component)
    if (language === 'python') {
      if (!this.#relayed.take(task)) this.#attempt(task, () => this.#launchPython(task))
      return
    }
    const idle = this.#takeIdle(task)
    if (idle) this.#handOver(task, idle)
    else if (this.#isAtWork(task)) this.#waitForProcess(task)
    else this.#attempt(task, () => this.#handOver(task, this.#start(task)))
  }

  #handOver(task: AcquiredTask, app: AppProcess): void {
    app.guard = this.#guard(task, app.started)
    app.guard.keepAlive(task.program === 'flwr-clientapp' ? { afterMs: clientAppHeartbeatMs } : {})
    app.channel.send({ token: task.token, wantsLastWords: app.guard.wantsLastWords, traceParent: task.trace?.parent })
  }

  /** A machine without memory, descriptors or disk space for another process fails this task, not all. */
  #attempt(task: AcquiredTask, start: () => void): void {
    try {
      start()
    } catch (error) {
      this.#guard(task, undefined).end(`could not be started: ${errorText(error)}`)
    }
  }

  #launchPython(task: AcquiredTask): void {
    const started = this.#python.start(task, this.#source.generation)
    if (typeof started === 'string') {
      this.#guard(task, undefined).end('no Python', started)
      return
    }
    // Python's app processes keep their task alive themselves.
    const guard = this.#guard(task, started)
    this.#adopt(started, (outcome) => {
      const missing = outcome.startsWith('could not be started')
      guard.end(
        outcome,
        missing ? `The app needs Python: ${this.#python.pathOf(task)} cannot be started at this site` : undefined,
      )
    })
  }

  #guard(task: AcquiredTask, app: StartedApp | undefined): TaskGuard {
    const guard = new TaskGuard({ source: this.#source, task, log: this.#log, kill: () => app && endApp(app) })
    if (app && task.program === 'flwr-serverapp') {
      this.#serverGuards.set(app, guard)
      void app.ended.then(() => this.#serverGuards.delete(app))
    }
    return guard
  }

  /** The programs of which another process may start. If there is room for none, a process that waits for a task ends. */
  programsWithRoom(): readonly AppProgram[] {
    const apps = this.#started.size + this.#waiting.size
    const programs = this.#room.programs({ apps, serverApps: this.#serverGuards.size })
    if (programs.length > 0) return programs
    if (this.#idle[0]) this.#endIdle(this.#idle[0])
    else this.#relayed.endOneIdle()
    return programs
  }

  /** Processes that wait for the next task of these runs wait in vain, and those at work will. */
  endRuns(runIds: readonly bigint[]): void {
    this.#relayed.endRuns(runIds)
    this.#python.endRuns(runIds)
    for (const app of this.#apps) {
      if (!runIds.includes(app.runId)) continue
      app.runEnded = true
      if (this.#idle.includes(app)) this.#endIdle(app)
    }
  }

  /**
   * Looks after the ServerApps under way while the server that started this program is away. Its next start knows their
   * tasks, and they find it at the same address. Resolves when they have ended, at the signal, and when no server has
   * known any of them for `keepMs`.
   */
  async outlast({ clock, keepMs, signal }: { clock: Clock; keepMs: number; signal: AbortSignal }): Promise<void> {
    this.#cancelWaiting()
    this.#relayed.close()
    void this.#readyApps.close()
    for (const app of this.#started) if (!this.#serverGuards.has(app)) endApp(app)
    // Python's ServerApps prolong their leases too, but too late for this.
    for (const guard of this.#serverGuards.values()) guard.keepAlive()
    const startedAt = clock.now()
    if (this.#serverGuards.size > 0)
      this.#log.info('The server is gone: ServerApps wait for its next start', {
        apps: this.#serverGuards.size,
        minutes: keepMs / 60_000,
      })
    while (this.#serverGuards.size > 0 && !signal.aborted) {
      const heardAt = Math.max(startedAt, ...[...this.#serverGuards.values()].map((guard) => guard.heardAt))
      if (clock.now() - heardAt > keepMs)
        return this.#log.warn('The server did not come back: its ServerApps are ended')
      const ended = Promise.all([...this.#serverGuards.keys()].map((app) => app.ended))
      await Promise.race([ended, clock.sleep(lookEveryMs, signal).catch(() => {})])
    }
  }

  /** Ends every app that was launched here. */
  async close(): Promise<void> {
    this.#cancelWaiting()
    this.#relayed.close()
    const ready = this.#readyApps.close()
    const all = [...this.#started]
    for (const app of all) endApp(app)
    await Promise.all([ready, ...all.map((app) => app.ended)])
    this.#python.close()
    await this.#console.close()
  }

  #cancelWaiting(): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer)
    this.#waiting.clear()
  }

  #takeIdle(task: AcquiredTask): AppProcess | undefined {
    const index = this.#idle.findIndex((one) => serves(one, task) && one.channel.isOpen)
    if (index < 0) return undefined
    const [app] = this.#idle.splice(index, 1)
    clearTimeout(app?.idleTimer)
    return app
  }

  /** Whether a process of the run works on an earlier task: it may be this moment that it has finished. */
  #isAtWork(task: AcquiredTask): boolean {
    return [...this.#apps].some((app) => serves(app, task) && app.guard !== undefined)
  }

  /** The server knows of the end of a task a moment before this program, and hands out the next one at once. */
  #waitForProcess(task: AcquiredTask): void {
    const timer = setTimeout(() => {
      this.#waiting.delete(task)
      this.#attempt(task, () => this.#handOver(task, this.#start(task)))
    }, parkMs)
    this.#waiting.set(task, timer)
  }

  #start(task: AcquiredTask): AppProcess {
    const { program, runId } = task
    const title = titleOf(task)
    const child = this.#readyApps.take(program, title)
    const isShown = program !== 'flwr-serverapp'
    if (isShown) this.#console.show([child.stdout, child.stderr], { app: 'ClientApp', runId })
    const started = startedApp(child)
    const channel = new LauncherChannel(channelOf(child), {
      onIdle: () => this.#park(app),
      onLastWords: (words) => app.guard?.remember(words),
      onFlood: () => {
        this.#log.warn('An app process is ended because it floods its SuperExec', { pid: child.pid, run: runId })
        endApp(started)
      },
    })
    const app: AppProcess = {
      channel,
      started,
      runId,
      program,
      guard: undefined,
      idleTimer: undefined,
      runEnded: false,
    }
    this.#apps.add(app)
    const lastWords = isShown || !child.stderr ? () => '' : keepLastLine(child.stderr)
    this.#adopt(started, (outcome) => {
      this.#apps.delete(app)
      app.guard?.end(`${outcome}${lastWords()}`)
      this.#readyApps.prepare(program, title)
    })
    return app
  }

  /** The process has finished its task and waits for the next. A ServerApp has only one. */
  #park(app: AppProcess): void {
    // An app that says so while it waits changes nothing: else it would be given two tasks at once.
    if (!app.guard) return
    app.guard.release()
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
    app.idleTimer = setTimeout(() => this.#endIdle(app), idleMs)
    this.#idle.push(app)
  }

  /** A process that has been asked to end gets no more tasks, however long it takes. */
  #endIdle(app: AppProcess): void {
    this.#removeIdle(app.started)
    endApp(app.started)
  }

  #removeIdle(started: StartedApp): void {
    const index = this.#idle.findIndex((one) => one.started === started)
    if (index >= 0) clearTimeout(this.#idle.splice(index, 1)[0]?.idleTimer)
  }

  #adopt(started: StartedApp, onEnd: (outcome: string) => void): void {
    this.#started.add(started)
    void started.ended.then((outcome) => {
      this.#started.delete(started)
      this.#removeIdle(started)
      this.#log.debug('An app process ended', { pid: started.pid, outcome })
      onEnd(outcome)
    })
  }
}

function serves(app: AppProcess, task: AcquiredTask): boolean {
  return app.runId === task.runId && app.program === task.program
}
