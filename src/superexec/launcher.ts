import type { ChildProcess } from 'node:child_process'
import { ended, startProgram } from '../base/child-program.ts'
import type { Logger } from '../base/log.ts'
import type { SuperexecConfig } from './config.ts'
import { startPythonApp } from './python-app.ts'

/** A task to be run, as the server handed it out. */
export interface AcquiredTask {
  readonly taskId: bigint
  readonly runId: bigint
  /** The program: `flwr-serverapp` or `flwr-clientapp`. */
  readonly type: string
  readonly component: string | undefined
  readonly token: string
}

/** How long a warm process waits for the next task of its run. */
const idleMs = 60_000

interface WarmProcess {
  readonly child: ChildProcess
  readonly runId: bigint
  readonly type: string
  idleTimer: NodeJS.Timeout | undefined
}

/**
 * Runs each task in an app process of its own. Our own ClientApp processes stay warm for the next task of the same run;
 * they are never shared between runs. Tokens travel over the channel between the processes, never in arguments.
 */
export class Launcher {
  readonly #config: SuperexecConfig
  readonly #log: Logger
  readonly #children = new Set<ChildProcess>()
  readonly #idle: WarmProcess[] = []

  constructor(config: SuperexecConfig, log: Logger) {
    this.#config = config
    this.#log = log
  }

  launch(task: AcquiredTask): void {
    this.#log.info('Launching an app', { type: task.type, run: task.runId, task: task.taskId })
    if (task.component !== undefined && isPython(task.component)) {
      this.#own(startPythonApp(this.#config, task))
      return
    }
    const warm = this.#takeIdle(task) ?? this.#start(task)
    warm.child.send({ token: task.token })
  }

  /** Ends every app that was launched here. */
  async close(): Promise<void> {
    const all = [...this.#children]
    for (const child of all) child.kill('SIGTERM')
    const timer = setTimeout(() => all.forEach((child) => void child.kill('SIGKILL')), 2000)
    await Promise.all(
      all.map((child) => (child.exitCode === null && child.signalCode === null ? ended(child) : undefined)),
    )
    clearTimeout(timer)
  }

  #takeIdle(task: AcquiredTask): WarmProcess | undefined {
    const index = this.#idle.findIndex(
      (one) => one.runId === task.runId && one.type === task.type && one.child.connected,
    )
    if (index < 0) return undefined
    const [warm] = this.#idle.splice(index, 1)
    clearTimeout(warm?.idleTimer)
    return warm
  }

  #start(task: AcquiredTask): WarmProcess {
    const { runtimeAddress, trustArguments } = this.#config
    const args = [
      '--runtime-api-address',
      runtimeAddress,
      ...trustArguments,
      '--parent-pid',
      String(process.pid),
      '--token-ipc',
    ]
    const child = startProgram(task.type, args, {
      // The log of a ServerApp travels to the SuperLink; what it prints need not appear here as well.
      stdio:
        task.type === 'flwr-serverapp'
          ? ['ignore', 'ignore', 'ignore', 'ipc']
          : ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const warm: WarmProcess = { child, runId: task.runId, type: task.type, idleTimer: undefined }
    child.on('message', () => this.#park(warm))
    this.#own(child)
    return warm
  }

  /** The process has finished its task and waits for the next. */
  #park(warm: WarmProcess): void {
    warm.idleTimer = setTimeout(() => warm.child.kill('SIGTERM'), idleMs)
    this.#idle.push(warm)
  }

  #own(child: ChildProcess): void {
    this.#children.add(child)
    void ended(child).then((outcome) => {
      this.#children.delete(child)
      const index = this.#idle.findIndex((one) => one.child === child)
      if (index >= 0) clearTimeout(this.#idle.splice(index, 1)[0]?.idleTimer)
      this.#log.debug('An app process ended', { pid: child.pid, outcome })
    })
  }
}

function isPython(component: string): boolean {
  return !/\.m?[jt]s(:|$)/.test(component)
}
