import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { AppGeneration } from '../app-api/task-api.ts'
import type { AcquiredTask } from '../app-api/task-source.ts'
import { createTemporaryDirectorySync, removeAbandoned } from '../base/temporary-directory.ts'
import type { AppConsole, ConsoleOwner } from './app-console.ts'
import type { LauncherConfig } from './config.ts'
import { socketsKind } from './console-sockets.ts'
import { findPythonEnvironment, type PythonEnvironment, unbufferedPython } from './python-environment.ts'
import { type ForkedProgram, PythonForkServer } from './python-fork-server.ts'
import { type StartedApp, startedApp, titleOf } from './started-app.ts'

/** How long the imports of an environment are kept for the next task. */
const idleMs = 60_000
/** The same for a simulation, where a person tries one run after the other. */
const simulationIdleMs = 300_000
const noPython =
  'The app needs Python, and this site has no environment with Flower for it: give its interpreter with --python, or put it on PATH.'

/**
 * Starts the app processes of a Python environment. Since Flower 1.35 they speak the Runtime API, and the token travels in a
 * file that only this user can read and that goes with the process. Those of 1.29 speak ServerAppIo and ClientAppIo, without
 * TLS, and take the token as an argument.
 */
export class PythonApps {
  readonly #config: LauncherConfig
  readonly #console: AppConsole
  #environment: PythonEnvironment | undefined
  /** Has imported Flower, and nothing of any app. */
  #environmentServer: PythonForkServer | undefined
  /** In a simulation, where the apps of a run share what they import. */
  readonly #runServers = new Map<bigint, PythonForkServer>()
  /** All that have not ended, also those that get no more tasks. */
  readonly #servers = new Set<PythonForkServer>()
  #cannotFork = process.platform !== 'linux'

  constructor(config: LauncherConfig, console: AppConsole) {
    this.#config = config
    this.#console = console
  }

  /** Returns a sentence if this site cannot run the app. */
  start(task: AcquiredTask, server: AppGeneration): StartedApp | string {
    this.#environment ??= findPythonEnvironment(this.#config.python)
    if (!this.#environment) return noPython
    const { trustArguments, serverAddress, dependencyInstallation } = this.#config
    const generation = generationOf(this.#environment)
    const version = this.#environment.version?.join('.')
    if (generation === undefined)
      return `The app needs Python with Flower 1.29, or 1.35 or later, and the environment of this site has Flower ${version}.`
    if (generation === 'runtime' && server === 'appio')
      return `The server is of Flower 1.29, and the Python environment of this site has Flower ${version ?? 'of a later release'}: they do not speak with each other.`
    if (generation === 'appio' && !trustArguments.includes('--insecure'))
      return `The apps of Flower ${version} speak no TLS, and the API for apps is served with it: use an environment with Flower 1.35 or later.`
    const common = [
      ...['--parent-pid', String(process.pid)],
      ...(dependencyInstallation ? ['--allow-runtime-dependency-installation'] : []),
    ]
    if (generation === 'appio') {
      const address = task.program === 'flwr-serverapp' ? '--serverappio-api-address' : '--clientappio-api-address'
      return this.#launch(task, [address, serverAddress, '--insecure', '--token', task.token, ...common])
    }
    const token = writeToken(task.token)
    const trusted = ['--runtime-api-address', serverAddress, ...trustArguments]
    const app = this.#launch(task, [...trusted, '--token-file', token.file, ...common])
    void app.ended.then(() => token[Symbol.dispose]())
    return app
  }

  /**
   * Starts a process that executes messages which it receives over a connection of its own. Returns `undefined` where this
   * program starts Flower's own instead: outside of simulations, and where processes cannot be forked.
   */
  startWorker(task: AcquiredTask, onConnection: (pipe: Duplex) => void): StartedApp | undefined {
    const { python, keepImports, dependencyInstallation } = this.#config
    if (!keepImports || dependencyInstallation) return undefined
    this.#environment ??= findPythonEnvironment(python)
    if (!this.#environment || generationOf(this.#environment) === undefined) return undefined
    const { runId, trace } = task
    const connection = { kind: 'frames', take: onConnection } as const
    return this.#fork(task, { runId, args: [], again: false, trace, owner: { app: 'ClientApp', runId }, connection })
  }

  /** The program that runs a task. */
  pathOf(task: AcquiredTask): string {
    return this.#environment?.program(task.program) ?? task.program
  }

  /** A title travels as an option of the interpreter that changes nothing. */
  #commandOf(task: AcquiredTask): string[] {
    const title = titleOf(task)
    const interpreter = this.#environment?.interpreter
    if (title === undefined || interpreter === undefined) return [this.pathOf(task)]
    return [interpreter, '-X', title, this.pathOf(task)]
  }

  endRuns(runIds: readonly bigint[]): void {
    this.#environmentServer?.endRuns(runIds)
    for (const runId of runIds) {
      this.#runServers.get(runId)?.close()
      this.#runServers.delete(runId)
    }
  }

  /** Called after all apps have ended. This program may end before the servers do, so their sockets are removed now. */
  close(): void {
    for (const server of this.#servers) server[Symbol.dispose]()
  }

  #launch(task: AcquiredTask, args: readonly string[]): StartedApp {
    const { runId, trace } = task
    const owner: ConsoleOwner = { app: appNames[task.program], runId }
    const alone = (): StartedApp => {
      const [file, ...rest] = [...this.#commandOf(task), ...args]
      const child = spawn(file as string, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: unbufferedPython(trace) })
      this.#console.show([child.stdout, child.stderr], owner)
      return startedApp(child)
    }
    // What is installed for one task is gone when it ends.
    const again = !this.#config.dependencyInstallation
    return this.#fork(task, { runId, args, again, trace, owner, alone }) ?? alone()
  }

  /**
   * Returns `undefined` where the program has to be started by itself: elsewhere than on Linux a process with the libraries of
   * numpy cannot be forked safely, and a ServerApp comes too rarely unless a person tries one simulation after the other.
   */
  #fork(task: AcquiredTask, forked: ForkedProgram): StartedApp | undefined {
    const { keepImports } = this.#config
    if (this.#cannotFork) return undefined
    if (task.program === 'flwr-serverapp') {
      if (!keepImports) return undefined
      const title = this.#commandOf(task)
      return this.#openEnvironment()?.start({ ...forked, again: false, program: this.pathOf(task), title })
    }
    return (keepImports ? this.#openRun(task.runId) : this.#openEnvironment())?.start(forked)
  }

  /** The server of the environment; another one if that has ended. */
  #openEnvironment(): PythonForkServer | undefined {
    const { keepImports } = this.#config
    const { interpreter } = this.#environment ?? {}
    if (this.#environmentServer?.isOpen || interpreter === undefined) return this.#environmentServer
    const names = keepImports ? (['flwr-clientapp', 'flwr-serverapp'] as const) : (['flwr-clientapp'] as const)
    const programs = names.map((name) => this.#environment?.program(name) ?? name)
    const options = { interpreter, programs, idleMs: keepImports ? simulationIdleMs : idleMs }
    const server = PythonForkServer.open(options, this.#console, { app: 'Python', runId: undefined })
    this.#environmentServer = server
    this.#watch(server)
    return server
  }

  #openRun(runId: bigint): PythonForkServer | undefined {
    const open = this.#runServers.get(runId)
    if (open?.isOpen) return open
    const server = this.#openEnvironment()?.forRun(runId, { app: 'Python', runId })
    if (!server) return undefined
    this.#runServers.set(runId, server)
    this.#watch(server)
    void server.ended.then(() => {
      if (this.#runServers.get(runId) === server) this.#runServers.delete(runId)
    })
    return server
  }

  #watch(server: PythonForkServer): void {
    this.#servers.add(server)
    void server.ended.then(() => {
      this.#servers.delete(server)
      this.#cannotFork ||= server.hasFailed
    })
  }
}

const tokenKind = 'trellis-token'

/** Removes the sockets and tokens that killed SuperExecs have left in the temporary folder. */
export async function removeAbandonedFiles(): Promise<void> {
  await removeAbandoned(socketsKind, tokenKind)
}

const appNames = { 'flwr-clientapp': 'ClientApp', 'flwr-serverapp': 'ServerApp' } as const

/** What the apps of an environment speak; `undefined` for the releases in between, whose ways are their own. */
function generationOf({ version }: PythonEnvironment): AppGeneration | undefined {
  if (version === undefined) return 'runtime'
  const [major, minor] = version
  if (major > 1 || minor >= 35) return 'runtime'
  return minor === 29 ? 'appio' : undefined
}

function writeToken(token: string): { file: string } & Disposable {
  const directory = createTemporaryDirectorySync(tokenKind)
  const file = join(directory.path, 'token')
  writeFileSync(file, token, { mode: 0o600 })
  return { ...directory, file }
}
