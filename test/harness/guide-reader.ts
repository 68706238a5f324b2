import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdirSync, mkdtempSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Block, blocksOf, commandBlock, fileOf, foregroundProgram, isCommands } from './guide.ts'
import { killIfAlive } from './program.ts'

/**
 * A program that follows a guide as its reader does: it saves files, pastes each block into a shell, and has a terminal for
 * every program that does not end by itself. Its arguments are the guide, and as JSON the blocks that the test adds before
 * the first one and after the last.
 */

/** What a program says when it works; one without such a line must only stay alive. */
const readyLines: Readonly<Record<string, RegExp>> = {
  // Ours, Flower 1.41, and Flower 1.29.
  'flower-superlink': /Starting API on|Uvicorn running on|gRPC-rere/,
  'flower-supernode': /SuperNode ID: /,
  'flower-superexec': /^/,
  stunnel: /Configuration successful/,
}
const patienceMs = 120_000

class Terminal {
  readonly child: ChildProcess
  said = ''
  #onSaid = (): void => {}

  constructor(script: string, folder: string) {
    this.child = spawn('sh', ['-e', '-c', script], {
      cwd: folder,
      env: { ...process.env, HOME: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.said += chunk
        process.stdout.write(chunk)
        this.#onSaid()
      })
    this.child.once('exit', () => setImmediate(() => this.#onSaid()))
  }

  get status(): number | string | null {
    return this.child.exitCode ?? this.child.signalCode
  }

  async end(): Promise<void> {
    if (this.status === null) await once(this.child, 'exit', { signal: AbortSignal.timeout(patienceMs) })
  }

  async ready(line: RegExp): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`it did not say ${line}`)), patienceMs)
      this.#onSaid = () => {
        if (this.status === null && !line.test(this.said)) return
        clearTimeout(timer)
        if (this.status === null) resolve()
        else reject(new Error(`it ended with ${this.status}`))
      }
      this.#onSaid()
    })
  }

  /** Ends what runs in the foreground, and asks what runs in the background to end, as closing the terminal does. */
  async stop(): Promise<void> {
    const group = -(this.child.pid as number)
    killIfAlive(group, 'SIGTERM')
    await this.end()
  }
}

class Reader {
  #folder: string
  readonly #terminals = new Map<string, Terminal>()
  /** All that were opened; the program of one may run on in the background. */
  readonly #shells: Terminal[] = []

  constructor(folder: string) {
    this.#folder = folder
  }

  async follow(block: Block): Promise<void> {
    if (block.inEmptyFolder) {
      for (const shell of this.#shells) await shell.stop()
      this.#shells.length = 0
      this.#terminals.clear()
      this.#folder = mkdtempSync(join(tmpdir(), 'guide-'))
    }
    const file = fileOf(block)
    if (file !== undefined) this.#save(file, block.text)
    else if (isCommands(block)) await this.#paste(block)
    else throw new Error('it is neither run nor marked as not run')
  }

  async run(script: string): Promise<void> {
    const shell = this.#open(script)
    await shell.end()
    if (shell.status !== 0) throw new Error(`the commands ended with ${shell.status}`)
  }

  ensureAllRun(): void {
    for (const [name, { status }] of this.#terminals)
      if (status !== null) throw new Error(`the program in the terminal ${name} has ended with ${status}`)
  }

  #open(script: string): Terminal {
    const shell = new Terminal(script, this.#folder)
    this.#shells.push(shell)
    return shell
  }

  #save(name: string, text: string): void {
    const flwrHome = process.env.FLWR_HOME ?? join(this.#folder, '.flwr')
    const path = join(this.#folder, name).replace(join(this.#folder, '~/.flwr'), flwrHome)
    mkdirSync(dirname(path), { recursive: true })
    appendFileSync(path, text)
  }

  async #paste(block: Block): Promise<void> {
    const program = foregroundProgram(block)
    if (program === undefined) return this.run(block.text)
    const name = block.terminal ?? program
    await this.#terminals.get(name)?.stop()
    const terminal = this.#open(withExec(block.text))
    this.#terminals.set(name, terminal)
    await terminal.ready(readyLines[program] as RegExp)
  }
}

/** The last command takes the place of the shell, so that the end of the terminal is that of its program. */
function withExec(text: string): string {
  const lines = text.trimEnd().split('\n')
  let last = lines.length - 1
  while (last > 0 && lines[last - 1]?.endsWith('\\')) last--
  return lines.map((line, index) => (index === last ? `exec ${line}` : line)).join('\n')
}

const [guide = '', before = '[]', after = '[]'] = process.argv.slice(2)
const added = (json: string): Block[] => JSON.parse(json).map(commandBlock)
const reader = new Reader(homedir())
const step = async (place: string, work: () => Promise<void>): Promise<void> => {
  process.stdout.write(`--- ${place}\n`)
  await work().catch((error: Error) => {
    process.stdout.write(`${place} failed: ${error.message}\n`)
    process.exit(1)
  })
}
for (const block of [...added(before), ...blocksOf(guide)])
  if (block.notRun === undefined) await step(block.place, () => reader.follow(block))
await step('the programs', async () => reader.ensureAllRun())
for (const block of added(after)) await step(block.place, () => reader.follow(block))
process.exit(0)
