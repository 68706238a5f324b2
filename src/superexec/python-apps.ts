import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AcquiredTask } from '../app-api/task-source.ts'
import type { SuperexecConfig } from './config.ts'
import { findPythonEnvironment, type PythonEnvironment } from './python-environment.ts'
import { PythonForkServer } from './python-fork-server.ts'
import { type StartedApp, startedApp } from './started-app.ts'

/** How long the imports of an environment are kept for the next task. */
const idleMs = 60_000

/**
 * Starts the app processes of a Python environment. They speak the Runtime API since Flower 1.35; the token travels in a
 * file that only this user can read and that goes with the process.
 */
export class PythonApps {
  readonly #config: SuperexecConfig
  readonly #environment: PythonEnvironment | undefined
  #forkServer: PythonForkServer | undefined

  constructor(config: SuperexecConfig) {
    this.#config = config
    this.#environment = findPythonEnvironment(config.python)
  }

  /** Answers `undefined` when there is no Python environment with Flower. */
  start(task: AcquiredTask): StartedApp | undefined {
    if (!this.#environment) return undefined
    const directory = mkdtempSync(join(tmpdir(), 'trellis-token-'))
    const tokenFile = join(directory, 'token')
    writeFileSync(tokenFile, task.token, { mode: 0o600 })
    const args = this.#arguments(tokenFile)
    const alone = (): StartedApp => startAlone(this.pathOf(task), args)
    const app = this.#fork(task, args, alone) ?? alone()
    void app.ended.then(() => rmSync(directory, { recursive: true, force: true }))
    return app
  }

  /** The program that runs a task. */
  pathOf(task: AcquiredTask): string {
    return this.#environment?.program(task.program) ?? task.program
  }

  close(): void {
    this.#forkServer?.close()
  }

  #arguments(tokenFile: string): string[] {
    const { serverAddress, trustArguments, dependencyInstallation } = this.#config
    return [
      ...['--runtime-api-address', serverAddress, ...trustArguments],
      ...['--token-file', tokenFile, '--parent-pid', String(process.pid)],
      ...(dependencyInstallation ? ['--allow-runtime-dependency-installation'] : []),
    ]
  }

  /** A ServerApp comes once a run. Elsewhere than on Linux a process with the libraries of numpy cannot be forked safely. */
  #fork(task: AcquiredTask, args: readonly string[], alone: () => StartedApp): StartedApp | undefined {
    const interpreter = this.#environment?.interpreter
    if (task.program !== 'flwr-clientapp' || interpreter === undefined || process.platform !== 'linux') return undefined
    if (this.#forkServer?.hasFailed) return undefined
    const forked = this.#forkServer?.start(args, alone)
    if (forked) return forked
    this.#forkServer = new PythonForkServer({ interpreter, program: this.pathOf(task), idleMs })
    return this.#forkServer.start(args, alone)
  }
}

function startAlone(program: string, args: readonly string[]): StartedApp {
  return startedApp(spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] }))
}
