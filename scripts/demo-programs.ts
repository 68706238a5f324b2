import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'

/** How long a program may take to say or do what it is waited for. */
const patienceMs = 90_000
/** How long a program may take to leave before it is killed. */
const leaveMs = 10_000

export interface ProgramsOptions {
  /** Where the programs run, and where FLWR_HOME is. */
  readonly directory: string
  readonly bin: string
  readonly signal: AbortSignal
  /** Is told each command before it runs. */
  readonly onCommand: (command: string) => void
  /** Is given the output of commands; a terminal lets live ones draw on it. */
  readonly show: (text: string) => void
  readonly terminal: boolean
}

/** Runs the real programs as an operator would, each in a process group of its own, and leaves none behind. */
export class Programs implements AsyncDisposable {
  readonly #options: ProgramsOptions
  readonly #servers: Program[] = []
  readonly #commands: Program[] = []

  constructor(options: ProgramsOptions) {
    this.#options = options
  }

  /** Runs a program to its end and shows what it prints. Throws when it fails. */
  async run(name: string, args: readonly string[], options: { live?: boolean } = {}): Promise<void> {
    this.#options.onCommand(commandOf(name, args))
    const program = this.#spawn(name, args, this.#commands, options.live === true && this.#options.terminal)
    if (options.live) program.onOutput(this.#options.show)
    await program.succeeds()
    if (!options.live) this.#options.show(program.stdout)
  }

  /** Runs a program to its end behind the scene and returns its standard output. */
  async read(name: string, args: readonly string[]): Promise<string> {
    const program = this.#spawn(name, args, this.#commands)
    await program.succeeds()
    return program.stdout
  }

  /** Starts a program that goes on until the end of the demo. */
  start(name: string, args: readonly string[]): Program {
    this.#options.onCommand(`${commandOf(name, args)} &`)
    return this.#spawn(name, args, this.#servers)
  }

  /** Starts a program that is expected to end by itself soon. */
  try(name: string, args: readonly string[]): Program {
    this.#options.onCommand(commandOf(name, args))
    return this.#spawn(name, args, this.#servers)
  }

  /** The SuperLink was started first and goes last. A command that is under way has nothing to put in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    const [superlink, ...nodes] = this.#servers
    await Promise.all([...nodes.map((node) => node.stop()), ...this.#commands.map((command) => command.kill())])
    await superlink?.stop()
  }

  #spawn(name: string, args: readonly string[], among: Program[], onTerminal = false): Program {
    const { directory, bin, signal } = this.#options
    signal.throwIfAborted()
    const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('FLWR_'))
    const child = spawn(join(bin, name), args, {
      cwd: directory,
      stdio: ['ignore', onTerminal ? 'inherit' : 'pipe', onTerminal ? 'inherit' : 'pipe'],
      env: { ...Object.fromEntries(inherited), FLWR_HOME: join(directory, '.flwr') },
      // A group of its own: Ctrl-C reaches the demo alone, and what is left of the group can be found.
      detached: true,
    })
    const program = new Program(args[0]?.startsWith('-') ? name : `${name} ${args[0]}`, child, signal)
    among.push(program)
    return program
  }
}

/** A program that was started, and what it says. */
export class Program {
  readonly #name: string
  readonly #child: ChildProcess
  readonly #signal: AbortSignal
  readonly #closed: Promise<void>
  #isClosed = false
  #said = ''
  stdout = ''

  constructor(name: string, child: ChildProcess, signal: AbortSignal) {
    this.#name = name
    this.#child = child
    this.#signal = signal
    child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    this.onOutput((text) => {
      this.#said += text
    })
    // After `close` no process holds the output any more, the programs that this one started included.
    this.#closed = new Promise((resolve) =>
      child.once('close', () => {
        this.#isClosed = true
        resolve()
      }),
    )
    child.once('error', (error) => {
      this.#said += error.message
    })
  }

  onOutput(listener: (text: string) => void): void {
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => listener(chunk.toString()))
  }

  /** Waits until it has said something that fits. Throws when it ends before, or takes too long. */
  async says(pattern: RegExp): Promise<void> {
    const found = new Promise<void>((resolve) => {
      const look = (): void => {
        if (pattern.test(this.#said)) resolve()
      }
      this.onOutput(look)
      look()
    })
    const ended = this.#closed.then(() => {
      if (!pattern.test(this.#said)) throw this.#error(`ended without saying ${pattern.source}`)
    })
    await this.#within(Promise.race([found, ended]), `did not say ${pattern.source}`)
  }

  /** Waits for its end; throws when that is a failure. */
  async succeeds(): Promise<void> {
    await this.#untilAborted(this.#closed)
    if (this.#child.exitCode !== 0) throw this.#error(`ended with ${this.#child.signalCode ?? this.#child.exitCode}`)
  }

  /** Waits for its end and returns its exit status and its last words, without the log. Throws when it goes on. */
  async isRefused(): Promise<{ exitStatus: number; sentence: string }> {
    await this.#within(this.#closed, 'was not refused: it went on')
    const lines = stripVTControlCharacters(this.#said).trim().split('\n')
    const sentence = lines.findLast((line) => !/^(DEBUG|INFO|WARNING|Exit Code)/.test(line))
    return { exitStatus: this.#child.exitCode ?? 1, sentence: sentence?.replace(/^Error: /, '').trim() ?? '' }
  }

  /** Asks it to leave, and kills it and what it started when it does not. */
  async stop(): Promise<void> {
    if (this.#isClosed) return
    this.#signalTo(this.#child.pid, 'SIGTERM')
    const done = new AbortController()
    await Promise.race([this.#closed, delay(leaveMs, undefined, { signal: done.signal }).catch(() => {})])
    done.abort()
    await this.kill()
  }

  /** Ends it and what it started at once. */
  async kill(): Promise<void> {
    if (this.#isClosed) return
    this.#signalTo(-(this.#child.pid ?? 0), 'SIGKILL')
    await this.#closed
  }

  #signalTo(pid: number | undefined, signal: NodeJS.Signals): void {
    if (!pid) return
    try {
      process.kill(pid, signal)
    } catch {
      // It has gone by itself.
    }
  }

  async #within(work: Promise<void>, complaint: string): Promise<void> {
    const done = new AbortController()
    const late = delay(patienceMs, undefined, { signal: done.signal }).then(() => {
      throw this.#error(`${complaint} in ${patienceMs / 1000} s`)
    })
    late.catch(() => {})
    try {
      await this.#untilAborted(Promise.race([work, late]))
    } finally {
      done.abort()
    }
  }

  async #untilAborted(work: Promise<void>): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => reject(this.#signal.reason)
    this.#signal.addEventListener('abort', onAbort, { once: true })
    try {
      this.#signal.throwIfAborted()
      await Promise.race([work, promise])
    } finally {
      this.#signal.removeEventListener('abort', onAbort)
    }
  }

  #error(what: string): Error {
    return new Error(`${this.#name} ${what}.${this.#said === '' ? '' : ` It said:\n${this.#said.trim()}`}`)
  }
}

/** These ports where they are free, so that the commands look as in the documentation; others where they are not. */
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

function commandOf(name: string, args: readonly string[]): string {
  return [name, ...args].map(shellWord).join(' ')
}

/** As a POSIX shell reads it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
