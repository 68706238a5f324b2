import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stripVTControlCharacters } from 'node:util'
import { temporaryDirectory } from './directory.ts'

/** How a command ended, and what it said: standard output alone, and both streams without colours. */
export interface Outcome {
  readonly status: number | NodeJS.Signals | null
  readonly stdout: string
  readonly said: string
}

interface CommandOptions {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  readonly timeoutMs: number
}

/** Programs whose names stand for those of Flower where this folder is first on PATH. */
const folder = join(import.meta.dirname, 'flower-programs')
/** The server listens a tenth of a second after its start; a busy machine is slow. */
const connectMs = 180_000

/** Starts the process that imports Flower and forks for every program. It ends with this process, which it does not keep alive. */
export function startForkServer(python: string, socket: string, env: NodeJS.ProcessEnv): ChildProcess {
  const server = spawn(python, [join(folder, 'fork-server.py'), socket], { stdio: ['pipe', 'ignore', 'inherit'], env })
  server.unref()
  ;(server.stdin as Socket | null)?.unref()
  return server
}

/**
 * Runs the programs of one Python environment with Flower, whose starts would take more than a second of processor time
 * each: they are forks of a process that imports Flower once.
 */
export class FlowerPrograms {
  readonly #directory = temporaryDirectory()
  readonly #socket: string
  readonly #server: ChildProcess | undefined
  /** The folder with the programs that the server forks. */
  readonly bin = folder
  /** The interpreter of an environment that is the given one, but what it runs, and its ServerApps, are forks. */
  readonly interpreter: string

  /** `shared`: the socket of a fork server that other test files use too; else this process has one of its own. */
  constructor(python: string, env: NodeJS.ProcessEnv, shared: string | undefined) {
    this.interpreter = this.#createEnvironment()
    this.#socket = shared ?? this.#directory.file('programs')
    if (shared === undefined) this.#server = startForkServer(python, this.#socket, env)
    process.once('exit', () => this.#directory[Symbol.dispose]())
  }

  /** Makes the programs of `bin`, and those that they start by their names, forks of this server. */
  get environment(): { TRELLIS_FLOWER_PROGRAMS: string } {
    return { TRELLIS_FLOWER_PROGRAMS: this.#socket }
  }

  /** Runs a command of `flwr` to its end. */
  async flwr(args: readonly string[], { cwd, env, timeoutMs }: CommandOptions): Promise<Outcome> {
    using directory = temporaryDirectory()
    const [stdout, stderr] = [directory.file('stdout'), directory.file('stderr')]
    const read = (): string => [stdout, stderr].map((file) => readFileSync(file, 'utf8')).join('')
    const connection = await this.#connect()
    // The program is killed when its client hangs up.
    const timer = setTimeout(() => connection.destroy(), timeoutMs)
    connection.write(`${JSON.stringify({ program: 'flwr', args, cwd, env, stdout, stderr })}\n`)
    const lines = createInterface({ input: connection })
    // A connection that is destroyed has no end, which would end the lines.
    connection.once('close', () => lines.close())
    let status: number | undefined
    for await (const line of lines) {
      status = JSON.parse(line).status
      break
    }
    clearTimeout(timer)
    connection.destroy()
    if (status === undefined)
      throw new Error(
        `flwr ${args.join(' ')} did not end in ${timeoutMs} ms, or its server has ended; it said:\n${read()}`,
      )
    return {
      status: status < 0 ? nameOfSignal(-status) : status,
      stdout: readFileSync(stdout, 'utf8'),
      said: stripVTControlCharacters(read()),
    }
  }

  /** Our SuperExec looks for the programs beside the interpreter, with which it starts a process that forks ClientApps. */
  #createEnvironment(): string {
    const bin = this.#directory.file('bin')
    mkdirSync(bin)
    for (const name of ['python', 'flwr-serverapp', 'flwr-clientapp'])
      symlinkSync(join(folder, 'flower-program'), join(bin, name))
    return join(bin, 'python')
  }

  /** Tries again while the server starts. */
  async #connect(): Promise<Socket> {
    const endsAt = performance.now() + connectMs
    for (;;) {
      const connection = connect(this.#socket)
      const { promise, resolve } = Promise.withResolvers<boolean>()
      connection.once('connect', () => resolve(true)).once('error', () => resolve(false))
      if (await promise) return connection
      if ((this.#server?.exitCode ?? null) !== null || performance.now() > endsAt)
        throw new Error('The process that forks the programs of Flower does not listen')
      await new Promise((next) => setTimeout(next, 20))
    }
  }
}

function nameOfSignal(number: number): NodeJS.Signals | null {
  const found = Object.entries(constants.signals).find(([, value]) => value === number)
  return (found?.[0] as NodeJS.Signals | undefined) ?? null
}
