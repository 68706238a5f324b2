import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { styleText } from 'node:util'

/** How long a program may take for what it is waited for. */
const patienceMs = 60_000

export interface ProgramsOptions {
  /** Where the programs run, and where FLWR_HOME is. */
  readonly directory: string
  readonly bin: string
  readonly quiet: boolean
  readonly signal: AbortSignal
}

/** A program that goes on, with what it says. */
export interface Running {
  /** Resolves when a line has come that fits. Rejects when the program ends before, or takes too long. */
  line(pattern: RegExp): Promise<void>
  /** Waits for its end and answers how it was refused. */
  refusal(): Promise<{ exitStatus: number; sentence: string }>
}

/** Runs the real programs, remembers the commands, and leaves none behind. */
export class Programs implements AsyncDisposable {
  readonly commands: string[] = []
  readonly #options: ProgramsOptions
  readonly #running: ChildProcess[] = []

  constructor(options: ProgramsOptions) {
    this.#options = options
  }

  /** Runs a program to its end and answers its standard output. Throws when it fails. */
  async run(name: string, args: readonly string[], options: { live?: boolean } = {}): Promise<string> {
    this.#announce(name, args, '')
    const child = this.#spawn(name, args)
    let output = ''
    let errors = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (options.live && !this.#options.quiet) process.stdout.write(chunk)
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      errors += chunk.toString()
    })
    const status = await exitOf(child)
    if (status !== 0) throw new Error(`${name} ${args[0]} ended with status ${status}: ${errors || output}`)
    if (!options.live && !this.#options.quiet) process.stdout.write(output)
    return output
  }

  /** Starts a program that goes on until the end of the demo. */
  start(name: string, args: readonly string[]): Running {
    this.#announce(name, args, ' &')
    const child = this.#spawn(name, args)
    let said = ''
    const listeners = new Set<() => void>()
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        for (const listener of listeners) listener()
      })
    }
    const until = (pattern: RegExp): Promise<void> =>
      new Promise((resolve, reject) => {
        const fail = (why: string): void => reject(new Error(`${name} ${why}:\n${said}`))
        const timer = setTimeout(() => fail(`did not say ${pattern.source} in ${patienceMs / 1000} s`), patienceMs)
        const look = (): void => {
          if (!pattern.test(said)) return
          clearTimeout(timer)
          listeners.delete(look)
          resolve()
        }
        listeners.add(look)
        child.once('exit', () => fail('ended'))
        look()
      })
    return {
      line: until,
      async refusal() {
        const exitStatus = (await exitOf(child)) ?? 1
        const sentence = said
          .trim()
          .split('\n')
          .findLast((line) => !/^(INFO|WARNING|Exit Code)/.test(line))
        return { exitStatus, sentence: sentence ?? '' }
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The SuperLink was started first and goes last.
    for (const child of this.#running.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGTERM')
      await exitOf(child)
    }
  }

  #announce(name: string, args: readonly string[], suffix: string): void {
    const command = `${[name, ...args].map(quoted).join(' ')}${suffix}`
    this.commands.push(command)
    if (!this.#options.quiet) process.stdout.write(`${styleText('dim', `$ ${command}`, { stream: process.stdout })}\n`)
  }

  #spawn(name: string, args: readonly string[]): ChildProcess {
    const { directory, bin, signal } = this.#options
    signal.throwIfAborted()
    const child = spawn(join(bin, name), args, {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FLWR_HOME: join(directory, '.flwr') },
    })
    this.#running.push(child)
    signal.addEventListener('abort', () => child.kill('SIGTERM'), { once: true })
    return child
  }
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

/** These ports where they are free, so that the commands can be copied; others where they are not. */
export function freePorts(wanted: readonly number[]): Promise<number[]> {
  return Promise.all(wanted.map(async (port) => (await bind(port)) ?? (await bind(0)) ?? 0))
}

function bind(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? address?.port : undefined))
    })
  })
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`
}
