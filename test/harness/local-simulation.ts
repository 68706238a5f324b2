import { join } from 'node:path'
import { temporaryDirectory } from './directory.ts'
import {
  eventually,
  isReadyApp,
  killIfAlive,
  processesWith,
  run,
  type StartOptions,
  start,
  type TestProgram,
} from './program.ts'
import { type MixedAppSources, writeMixedApp } from './python-apps.ts'
import { type AppSources, writeApp } from './write-app.ts'

/** A user with `flwr` and nothing else: no SuperLink runs until a command needs the local one. */
export class LocalSimulation implements AsyncDisposable {
  readonly #directory = temporaryDirectory()
  readonly home = this.#directory.file('home')
  #environment: Readonly<Record<string, string>>

  /** `environment` is what the user's shell has beside that. */
  constructor(environment: Readonly<Record<string, string>> = {}) {
    this.#environment = { FLWR_HOME: this.home, NO_COLOR: '1', ...environment }
  }

  /** From now on commands are typed in a shell with this, too. */
  setEnvironment(environment: Readonly<Record<string, string>>): void {
    this.#environment = { ...this.#environment, ...environment }
  }

  file(name: string): string {
    return this.#directory.file(name)
  }

  flwr(...args: string[]): ReturnType<typeof run> {
    return run('flwr', args, { ...this.options(), timeoutMs: 180_000 })
  }

  start(program: string, ...args: string[]): TestProgram {
    return start(program, args, this.options())
  }

  writeApp(sources: AppSources): string {
    return writeApp(this.file('testapp'), sources)
  }

  writeMixedApp(sources: MixedAppSources): string {
    return writeMixedApp(this.file('testapp'), sources)
  }

  /** Process ids of programs of that name that run for this user, without app processes that wait for their first run. */
  processes(program: string): number[] {
    const found = processesWith(this.#directory.path)
    return found.filter((one) => one.command.includes(program) && !isReadyApp(one)).map(({ pid }) => pid)
  }

  /** The local SuperLink outlives every command: here it ends with the test, and with it everything that it started. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.processes('flower-superlink')) killIfAlive(pid, 'SIGTERM')
    await eventually('the end of all programs', () => processesWith(this.#directory.path).length === 0).catch(
      (error) => {
        for (const { pid } of processesWith(this.#directory.path)) killIfAlive(pid)
        throw error
      },
    )
    this.#directory[Symbol.dispose]()
  }

  /** For programs of others. */
  options(): StartOptions {
    return { cwd: join(this.home, '..'), env: this.#environment }
  }
}
