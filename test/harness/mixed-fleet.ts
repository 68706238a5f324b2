import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestCa } from './certificates.ts'
import { temporaryDirectory } from './directory.ts'
import { freePort } from './free-port.ts'
import { endProcessesWith, eventually, processesWith, run, start, type TestProgram } from './program.ts'
import {
  type AppEnvironment,
  isHttpGeneration,
  type Maker,
  runningPython,
  runPythonFlwr,
  startPython,
} from './python-flower.ts'

/** How long Python's programs may take to start on a busy machine. */
const startMs = 180_000

export interface MixedFleetOptions {
  readonly superlink: Maker
  /** The release whose environment runs Python apps where SuperLink or SuperNode is ours. */
  readonly python?: AppEnvironment
  readonly superlinkArguments?: readonly string[]
  /** Without TLS, and with a SuperLink that keeps its state in memory, as a first try has it. */
  readonly isPlain?: boolean
  /**
   * Where Python's SuperLink keeps its state; a file by default. With a file the replies of nodes that have objects in
   * common, as those of lockstep trainings do, can meet in its database such that one is lost (FOREIGN KEY constraint
   * failed), and its round never ends.
   */
  readonly pythonState?: 'memory'
  /** `process` leaves starting the apps to a SuperExec of `startSuperexec`. */
  readonly isolation?: 'subprocess' | 'process'
  /** The test sends SIGKILL or SIGSTOP to programs of Python that it starts. */
  readonly getsSignals?: boolean
}

/**
 * A fleet under TLS whose every place is taken by ours or by an unmodified Python release: SuperLink, SuperNodes, SuperExecs
 * and the user of `flwr`.
 */
export class MixedFleet implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly directory = this.#stack.use(temporaryDirectory())
  readonly superlinkMaker: Maker
  readonly #options: MixedFleetOptions
  readonly #addresses = new Map<TestProgram, string>()
  readonly #programs: TestProgram[] = []
  #ca!: TestCa
  superlink!: TestProgram
  fleetAddress = ''
  controlAddress = ''
  /** Where a SuperExec finds the ServerApps of this SuperLink. */
  appAddress = ''

  private constructor(options: MixedFleetOptions) {
    this.#options = options
    this.superlinkMaker = options.superlink
  }

  static async create(options: MixedFleetOptions): Promise<MixedFleet> {
    await using onFailure = new AsyncDisposableStack()
    const fleet = onFailure.use(new MixedFleet(options))
    fleet.#ca = await TestCa.create(fleet.directory.path)
    await fleet.#ca.server()
    await fleet.startSuperlink()
    onFailure.move()
    return fleet
  }

  get ca(): TestCa {
    return this.#ca
  }

  /** Starts it, or starts it again on the same addresses and the same state. */
  async startSuperlink(): Promise<void> {
    const { superlink: maker, superlinkArguments = [], isolation } = this.#options
    const ports = this.fleetAddress ? undefined : [await freePort(), await freePort(), await freePort()]
    if (ports) {
      const [first, second, third] = ports.map((port) => `127.0.0.1:${port}`) as [string, string, string]
      this.fleetAddress = first
      this.controlAddress = isHttpGeneration(maker) ? first : second
      this.appAddress = isHttpGeneration(maker) ? first : third
    }
    const args = [
      ...(isolation ? ['--isolation', isolation] : []),
      ...this.#serverTls(),
      ...this.#addressArguments(maker),
      ...(this.#options.isPlain || this.#isInMemory() ? [] : ['--database', this.directory.file('state.db')]),
      ...(maker === 'trellis' ? this.#pythonArguments() : []),
      ...superlinkArguments,
    ]
    this.superlink = this.start(maker, 'flower-superlink', args)
    await this.superlink.line(
      isHttpGeneration(maker) ? /Uvicorn running on|Starting.*API/ : /Starting Fleet API|Uvicorn running on/,
      startMs,
    )
  }

  /** Starts a SuperNode; resolves when it has joined. */
  async startSupernode(maker: Maker, args: readonly string[] = []): Promise<TestProgram> {
    const address = `127.0.0.1:${await freePort()}`
    const node = this.start(maker, 'flower-supernode', [
      ...[...this.#trust(), '--superlink', this.fleetAddress],
      ...this.#nodeAddressArguments(maker, address),
      ...(maker === 'trellis' ? this.#pythonArguments() : []),
      ...args,
    ])
    this.#addresses.set(node, address)
    await node.line(/SuperNode ID: (\d+)/, startMs)
    return node
  }

  /** Starts a SuperExec, ours unless `maker` says otherwise, for the apps of a program that is not of its own fleet. */
  startSuperexec(
    address: string,
    type: 'serverapp' | 'clientapp',
    {
      maker = 'trellis',
      args = [],
      path,
    }: { maker?: Maker; args?: readonly string[] /** Where app programs are looked for first. */; path?: string } = {},
  ): TestProgram {
    // What Python's SuperNode serves its apps has no TLS, and nothing of 1.29 that apps talk to has.
    const isPlain = type === 'clientapp' || this.superlinkMaker === '1.29'
    const trust = isPlain ? ['--insecure'] : this.#trust()
    const all = [
      ...trust,
      ...[maker === '1.29' ? '--appio-api-address' : '--runtime-api-address', address, '--plugin-type', type],
      ...(maker === 'trellis' ? this.#pythonArguments() : []),
      ...args,
    ]
    return this.start(maker, 'flower-superexec', all, path ? { PATH: `${path}:${process.env.PATH}` } : {})
  }

  /** Where a SuperExec finds the ClientApps of this SuperNode. */
  appAddressOf(node: TestProgram): string {
    return this.#addresses.get(node) ?? ''
  }

  /** Starts a program that ends with the fleet, also when its test fails before. */
  start(maker: Maker, program: string, args: readonly string[], env: Record<string, string> = {}): TestProgram {
    const { cwd, env: own } = this.#programOptions(maker)
    const { python, getsSignals = false } = this.#options
    const apps = maker === 'trellis' && python ? runningPython(python).env : {}
    const options = { cwd, env: { ...own, ...apps, ...env } }
    const started =
      maker === 'trellis'
        ? start(program, args, options)
        : startPython(maker, program, args, { ...options, getsSignals })
    this.#programs.push(started)
    return this.#stack.use(started)
  }

  /** Makes an SSH key as its owner would; returns the file of the private one. */
  createKey(name: string): string {
    const file = this.directory.file(name)
    execFileSync('ssh-keygen', ['-q', '-t', 'ecdsa', '-b', '384', '-N', '', '-f', file])
    return file
  }

  /** Makes a key and registers it at the SuperLink. */
  async registerKey(maker: Maker, name: string): Promise<{ file: string; nodeId: string }> {
    const file = this.createKey(name)
    const { stdout, said } = await this.flwr(maker, ['supernode', 'register', `${file}.pub`, '--format', 'json'])
    // More digits than a number has.
    const nodeId = /"node-id": "?(\d+)/.exec(stdout)?.[1]
    if (nodeId === undefined) throw new Error(`The key was not registered:\n${said}`)
    return { file, nodeId }
  }

  /** Runs `flwr`; its connection to this SuperLink is called `fleet` and is the default. */
  async flwr(maker: Maker, args: readonly string[], timeoutMs = 240_000): ReturnType<typeof run> {
    this.#writeConfig(maker)
    const options = { ...this.#programOptions(maker), timeoutMs }
    try {
      return await (maker === 'trellis' ? run('flwr', args, options) : runPythonFlwr(maker, args, options))
    } catch (error) {
      const said = this.#programs.map((program) => program.said.slice(-2000))
      throw new Error([String(error), ...said].join('\n--- another program of the fleet said last:\n'), {
        cause: error,
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { path } = this.directory
    // After SIGTERM a ServerApp that a failed test has left under way would wait half an hour for the next start.
    if (this.superlinkMaker === 'trellis') this.superlink?.kill('SIGINT')
    await this.#stack.disposeAsync()
    await endLeftovers(path)
  }

  #isInMemory(): boolean {
    return this.superlinkMaker !== 'trellis' && this.#options.pythonState === 'memory'
  }

  #programOptions(maker: Maker): { cwd: string; env: Record<string, string> } {
    return { cwd: this.directory.path, env: { FLWR_HOME: this.#home(maker), NO_COLOR: '1' } }
  }

  #home(maker: Maker): string {
    const home = this.directory.file(`home-${maker}`)
    mkdirSync(home, { recursive: true })
    return home
  }

  #trust(): string[] {
    return this.#options.isPlain ? ['--insecure'] : ['--root-certificates', this.#ca.certfile]
  }

  #serverTls(): string[] {
    if (this.#options.isPlain) return ['--insecure']
    const { file } = this.directory
    const server = ['--ssl-certfile', file('server.pem'), '--ssl-keyfile', file('server.key')]
    return ['--ssl-ca-certfile', this.#ca.certfile, ...server]
  }

  #addressArguments(maker: Maker): string[] {
    if (isHttpGeneration(maker)) return ['--host', '127.0.0.1', '--port', portOf(this.fleetAddress)]
    const grpc = ['--fleet-api-address', this.fleetAddress, '--control-api-address', this.controlAddress]
    if (maker === '1.29') return [...grpc, '--serverappio-api-address', this.appAddress]
    return [...grpc, '--port', portOf(this.appAddress)]
  }

  #nodeAddressArguments(maker: Maker, address: string): string[] {
    return maker === '1.29' ? ['--clientappio-api-address', address] : ['--port', portOf(address)]
  }

  #pythonArguments(): readonly string[] {
    return this.#options.python ? runningPython(this.#options.python).args : []
  }

  #writeConfig(maker: Maker): void {
    const trust = this.#options.isPlain ? 'insecure = true' : `root-certificates = "${this.#ca.certfile}"`
    writeFileSync(
      join(this.#home(maker), 'config.toml'),
      `[superlink]\ndefault = "fleet"\n[superlink.fleet]\naddress = "${this.controlAddress}"\n${trust}\n`,
    )
  }
}

/** Ends what Python's programs leave behind; ours leave nothing, or the test fails. */
async function endLeftovers(directory: string): Promise<void> {
  const ours = (): string[] =>
    processesWith(directory)
      .filter(({ command }) => command.includes('start.mjs'))
      .map(({ command }) => command.replaceAll('\0', ' '))
  try {
    await eventually('The end of our programs', () => ours().length === 0)
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${ours().join('; ')}`)
  } finally {
    endProcessesWith(directory)
  }
}

function portOf(address: string): string {
  return address.slice(address.lastIndexOf(':') + 1)
}
