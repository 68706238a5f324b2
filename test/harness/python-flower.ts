import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryDirectory } from './directory.ts'
import { FlowerPrograms, type Outcome, startForkServer } from './flower-programs.ts'
import { type StartOptions, start, type TestProgram } from './program.ts'

/** The maker of a program in a fleet: our program, or the unmodified one of a release of Python Flower. */
export type Maker = 'trellis' | Release
export type Release = '1.29' | '1.36' | '1.41' | '1.42' | '1.43'

const environmentVariables = {
  '1.29': 'TRELLIS_PYTHON_129',
  '1.36': 'TRELLIS_PYTHON_136',
  '1.41': 'TRELLIS_PYTHON_141',
  '1.42': 'TRELLIS_PYTHON_142',
  /** A nightly build. */
  '1.43': 'TRELLIS_PYTHON_143',
  /** 1.41 with the libraries that real apps import. */
  apps: 'TRELLIS_PYTHON_APPS',
} as const

/** An environment that can run Python apps on our programs. */
export type AppEnvironment = keyof typeof environmentVariables

/** The virtual environment with that release, or undefined where the tests' set-up has none. */
export function pythonEnvironment(maker: AppEnvironment): string | undefined {
  return process.env[environmentVariables[maker]]
}

/** Why tests that need Python skip; in CI the set-up fails before. */
export const withoutPython = withoutReleases('1.29', '1.36', '1.41', 'apps')

/** Why tests that need these releases are skipped; `false` if all of them are installed. */
export function withoutReleases(...makers: readonly (Maker | AppEnvironment)[]): string | false {
  const missing = makers.filter((maker) => maker !== 'trellis' && !pythonEnvironment(maker))
  return missing.length > 0 && `there is no Python environment with Flower ${missing.join(', ')}`
}

/** Whether the servers of this maker are those of the HTTP generation of Flower: one port, one API for apps. */
export function isHttpGeneration(maker: Maker): boolean {
  return maker === '1.41' || maker === '1.42' || maker === '1.43'
}

/** The interpreter of a release, for `--python`. */
export function pythonOf(maker: AppEnvironment): string {
  return join(required(maker), 'bin', 'python')
}

/** What makes our programs run Python apps in this environment, each ServerApp as a fork. */
export function runningPython(maker: AppEnvironment): {
  args: readonly string[]
  env: Readonly<Record<string, string>>
} {
  const { interpreter, environment } = programsOf(maker)
  return { args: ['--python', interpreter], env: environment }
}

export interface PythonStartOptions extends StartOptions {
  /** The test sends SIGKILL, which a fork gets a moment later, or SIGSTOP, which it never gets: the program is none. */
  readonly getsSignals?: boolean
}

/**
 * Starts a program of a release as its user would: its environment first on PATH. Programs of Flower are forks, and so are
 * those that they start, unless the test says what is on PATH or replaces modules.
 */
export function startPython(
  maker: Release,
  program: string,
  args: readonly string[],
  { getsSignals = false, ...options }: PythonStartOptions = {},
): TestProgram {
  const own = pythonOptions(maker, options)
  if (options.env?.PYTHONPATH) return start(program, args, own)
  const { bin, environment } = programsOf(maker)
  const path = options.env?.PATH ? {} : { PATH: `${bin}:${own.env?.PATH}` }
  const isFork = !getsSignals && existsSync(join(bin, program))
  return start(program, args, { ...own, env: { ...own.env, ...path, ...environment }, ...(isFork ? { bin } : {}) })
}

/** Runs a command of a release's `flwr` to its end. */
export function runPythonFlwr(
  maker: Release,
  args: readonly string[],
  options: { cwd?: string; env?: Readonly<Record<string, string>>; timeoutMs?: number } = {},
): Promise<Outcome> {
  return programsOf(maker).flwr(args, {
    cwd: options.cwd ?? process.cwd(),
    env: { ...process.env, FLWR_LOG_LEVEL: 'INFO', ...pythonOptions(maker, options).env },
    timeoutMs: options.timeoutMs ?? 180_000,
  })
}

/**
 * Starts a fork server for each environment, which the test files use that this process starts: to import Flower takes each
 * of them more than a second of processor time.
 */
export function shareForkServers(): Disposable {
  const directory = temporaryDirectory()
  for (const maker of Object.keys(environmentVariables) as AppEnvironment[])
    if (pythonEnvironment(maker)) startForkServer(pythonOf(maker), directory.file(maker), environmentOf(maker))
  process.env.TRELLIS_FORK_SERVERS = directory.path
  return directory
}

const programs = new Map<AppEnvironment, FlowerPrograms>()

function programsOf(maker: AppEnvironment): FlowerPrograms {
  const found = programs.get(maker)
  if (found) return found
  const shared = process.env.TRELLIS_FORK_SERVERS && join(process.env.TRELLIS_FORK_SERVERS, maker)
  const created = new FlowerPrograms(pythonOf(maker), environmentOf(maker), shared)
  programs.set(maker, created)
  return created
}

function environmentOf(maker: AppEnvironment): NodeJS.ProcessEnv {
  return { ...process.env, FLWR_LOG_LEVEL: 'INFO', ...pythonOptions(maker, {}).env }
}

function pythonOptions(maker: AppEnvironment, options: StartOptions): StartOptions {
  const environment = required(maker)
  const bin = join(environment, 'bin')
  return {
    ...options,
    bin,
    env: {
      PATH: `${bin}:${process.env.PATH}`,
      VIRTUAL_ENV: environment,
      PYTHONUNBUFFERED: '1',
      FLWR_TELEMETRY_ENABLED: '0',
      FLWR_DISABLE_UPDATE_CHECK: '1',
      NO_COLOR: '1',
      ...options.env,
    },
  }
}

function required(maker: AppEnvironment): string {
  const environment = pythonEnvironment(maker)
  if (!environment) throw new Error(`${environmentVariables[maker]} names no environment with flwr ${maker}`)
  return environment
}
