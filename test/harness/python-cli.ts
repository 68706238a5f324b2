import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
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

interface Command {
  pid: number | undefined
  readonly end: (status: number) => void
}

/**
 * Runs commands of one Python `flwr` whose start would take more than a second of processor time each: the process imports
 * Flower once and forks for every command. It ends with this process.
 */
export class PythonCli {
  readonly #server: ChildProcess
  readonly #commands = new Map<number, Command>()
  #last = 0

  constructor(python: string, env: NodeJS.ProcessEnv) {
    this.#server = spawn(python, [join(import.meta.dirname, 'flwr-commands.py')], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env,
    })
    const { stdin, stdout } = this.#server
    if (!stdin || !stdout) throw new Error('The process has no pipes')
    createInterface({ input: stdout }).on('line', (line) => this.#hear(JSON.parse(line)))
    this.#server.once('exit', () => {
      for (const { end } of this.#commands.values()) end(Number.NaN)
    })
    // It keeps no test process alive; while a command runs its time limit does.
    this.#server.unref()
    for (const stream of [stdin, stdout]) (stream as unknown as { unref(): void }).unref()
  }

  async run(
    args: readonly string[],
    { cwd, env, timeoutMs }: { cwd: string; env: NodeJS.ProcessEnv; timeoutMs: number },
  ): Promise<Outcome> {
    using directory = temporaryDirectory()
    const [stdout, stderr] = [directory.file('stdout'), directory.file('stderr')]
    const read = (): string => [stdout, stderr].map((file) => readFileSync(file, 'utf8')).join('')
    const id = ++this.#last
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#commands.set(id, { pid: undefined, end: resolve })
    const timer = setTimeout(() => {
      const pid = this.#commands.get(id)?.pid
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
      reject(new Error(`flwr ${args.join(' ')} did not end in ${timeoutMs} ms; it said:\n${read()}`))
    }, timeoutMs)
    this.#server.stdin?.write(`${JSON.stringify({ id, args, cwd, env, stdout, stderr })}\n`)
    const status = await promise.finally(() => {
      clearTimeout(timer)
      this.#commands.delete(id)
    })
    if (Number.isNaN(status)) throw new Error(`The process that runs flwr ended while it ran ${args.join(' ')}`)
    return {
      status: status < 0 ? nameOfSignal(-status) : status,
      stdout: readFileSync(stdout, 'utf8'),
      said: stripVTControlCharacters(read()),
    }
  }

  #hear({ id, pid, status }: { id: number; pid?: number; status?: number }): void {
    const command = this.#commands.get(id)
    if (!command) return
    if (pid !== undefined) command.pid = pid
    if (status !== undefined) command.end(status)
  }
}

function nameOfSignal(number: number): NodeJS.Signals | null {
  const found = Object.entries(constants.signals).find(([, value]) => value === number)
  return (found?.[0] as NodeJS.Signals | undefined) ?? null
}
