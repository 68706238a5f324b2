import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'

/** The folder with our programs: bundled by `scripts/test-programs.ts`, else as they are. */
export const programFolder = process.env.TRELLIS_TEST_PROGRAMS ?? join(import.meta.dirname, '..', '..', 'bin')
/** How long a program may take for what a test waits for, unless the test says otherwise: a busy machine is slow. */
export const patienceMs = 90_000

/** A real program of ours (or of Python's) in a test, with everything that it says. */
export class TestProgram implements AsyncDisposable {
  readonly child: ChildProcess
  readonly #name: string
  readonly #listeners = new Set<() => void>()
  /** Standard output alone, for programs whose output is read. */
  stdout = ''
  #said = ''

  constructor(name: string, child: ChildProcess) {
    this.#name = name
    this.child = child
    child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#said += chunk.toString()
        for (const listener of this.#listeners) listener()
      })
    }
    child.once('exit', () => setImmediate(() => this.#listeners.forEach((listener) => void listener())))
  }

  /** Standard output and error as they came, without colours. */
  get said(): string {
    return stripVTControlCharacters(this.#said)
  }

  get pid(): number {
    return this.child.pid as number
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Waits until the program has said something that fits, and returns the match. */
  line(pattern: RegExp, timeoutMs = patienceMs): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void): void => {
        clearTimeout(timer)
        this.#listeners.delete(look)
        settle()
      }
      const fail = (why: string): void =>
        done(() => reject(new Error(`${this.#name} ${why} ${pattern}; it said:\n${this.said}`)))
      const look = (): void => {
        const match = pattern.exec(this.said)
        if (match) done(() => resolve(match))
        else if (this.hasEnded) fail('ended without saying')
      }
      const timer = setTimeout(() => fail(`did not say in ${timeoutMs} ms`), timeoutMs)
      this.#listeners.add(look)
      look()
    })
  }

  /** Waits for the end; returns the exit status, or the name of the signal. */
  async end(timeoutMs = patienceMs): Promise<number | NodeJS.Signals | null> {
    if (!this.hasEnded) {
      const signal = AbortSignal.timeout(timeoutMs)
      await once(this.child, 'exit', { signal }).catch(() => {
        throw new Error(`${this.#name} did not end in ${timeoutMs} ms; it said:\n${this.said}`)
      })
    }
    return this.child.exitCode ?? this.child.signalCode
  }

  /** Waits until everything that an ended program had said is read; not for programs that it left behind with its pipes. */
  async heard(): Promise<void> {
    const open = [this.child.stdout, this.child.stderr].filter((stream) => stream && !stream.readableEnded)
    if (open.length > 0) await once(this.child, 'close', { signal: AbortSignal.timeout(1000) }).catch(() => {})
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    this.child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) {
      this.kill()
      await this.end(8000).catch(() => {
        this.kill('SIGKILL')
        return this.end()
      })
    }
    // A program that this one left behind may hold the pipes: its end is not waited for.
    this.child.stdout?.destroy()
    this.child.stderr?.destroy()
  }
}

export interface StartOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** A folder with programs; by default ours. */
  readonly bin?: string
}

/** Starts one of our programs as an operator would: by its file. */
export function start(name: string, args: readonly string[], options: StartOptions = {}): TestProgram {
  const child = spawn(join(options.bin ?? programFolder, name), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, FLWR_LOG_LEVEL: 'INFO', ...options.env },
  })
  return new TestProgram(name, child)
}

/** Runs a program to its end. */
export async function run(
  name: string,
  args: readonly string[],
  options: StartOptions & { timeoutMs?: number } = {},
): Promise<{ status: number | NodeJS.Signals | null; stdout: string; said: string }> {
  await using program = start(name, args, options)
  const status = await program.end(options.timeoutMs ?? 180_000)
  await program.heard()
  return { status, stdout: program.stdout, said: program.said }
}

/** Looks again and again, at most `timeoutMs`, until something is there. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = patienceMs,
): Promise<T> {
  const endsAt = performance.now() + timeoutMs
  for (;;) {
    const found = await look()
    if (found) return found
    if (performance.now() > endsAt) throw new Error(`${what} did not happen in ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Sends a signal to a process that may have ended since it was found. */
export function killIfAlive(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Processes with this text in their environment: programs that our programs start are not our children. */
export function processesWith(text: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const read = (file: string): string => readFileSync(`/proc/${name}/${file}`, 'utf8')
        return read('environ').includes(text) ? [{ pid: Number(name), command: read('cmdline') }] : []
      } catch {
        // It has ended in the meantime.
        return []
      }
    })
}

/** Whether a process was started in advance and has no app of a run yet. */
export const isReadyApp = ({ command }: { command: string }): boolean => command.includes('--ready')

export function endProcessesWith(text: string, signal: NodeJS.Signals = 'SIGKILL'): void {
  for (const { pid } of processesWith(text)) killIfAlive(pid, signal)
}
