import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestCa } from './certificates.ts'
import { temporaryDirectory } from './directory.ts'
import { freePort } from './free-port.ts'
import {
  endProcessesWith,
  isReadyApp,
  processesWith,
  run,
  type StartOptions,
  start,
  type TestProgram,
} from './program.ts'
import { type AppSources, writeApp } from './write-app.ts'

export interface DeploymentOptions {
  /** Client certificates are required; else everything is plain. */
  readonly mutualTls?: boolean
  readonly superlinkArguments?: readonly string[] | ((deployment: Deployment) => Promise<readonly string[]>)
  readonly superlinkEnvironment?: Readonly<Record<string, string>>
  /** Of every program. */
  readonly environment?: Readonly<Record<string, string>>
}

/**
 * A SuperLink, its SuperNodes and `flwr` as real processes in a folder of their own, on ports that no other test has. What
 * was started last ends first.
 */
export class Deployment implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly directory = this.#stack.use(temporaryDirectory())
  readonly environment: Readonly<Record<string, string>>
  readonly #options: DeploymentOptions
  #ca: TestCa | undefined
  superlink!: TestProgram
  fleetAddress = ''
  controlAddress = ''
  mainAddress = ''

  private constructor(options: DeploymentOptions) {
    this.#options = options
    this.environment = { FLWR_HOME: join(this.directory.path, 'home'), NO_COLOR: '1', ...options.environment }
  }

  static async create(options: DeploymentOptions = {}): Promise<Deployment> {
    await using onFailure = new AsyncDisposableStack()
    const deployment = onFailure.use(new Deployment(options))
    if (options.mutualTls) {
      deployment.#ca = await TestCa.create(deployment.directory.path)
      await deployment.#ca.server()
      await deployment.#ca.issue('cli')
    }
    await deployment.startSuperlink()
    onFailure.move()
    return deployment
  }

  get ca(): TestCa {
    if (!this.#ca) throw new Error('This deployment has no certificates')
    return this.#ca
  }

  /** Starts it, or starts it again: then on the same addresses and, with a database file, with the same state. */
  async startSuperlink(): Promise<void> {
    const address = async (known: string): Promise<string> => known || `127.0.0.1:${await freePort()}`
    const { superlinkArguments = [], superlinkEnvironment: env = {} } = this.#options
    const more = typeof superlinkArguments === 'function' ? await superlinkArguments(this) : superlinkArguments
    const args = [
      ...this.superlinkTls(),
      ...['--fleet-api-address', await address(this.fleetAddress)],
      ...['--control-api-address', await address(this.controlAddress)],
      ...['--port', (await address(this.mainAddress)).split(':')[1] as string],
      ...['--database', this.directory.file('state.db')],
      // Its default is one port for all of this machine.
      ...(!this.#ca && more.includes('process') ? ['--serverappio-api-address', '127.0.0.1:0'] : []),
      ...more,
    ]
    this.superlink = this.start('flower-superlink', args, { env })
    const bound = async (name: string): Promise<string> =>
      (await this.superlink.line(new RegExp(`Starting ${name} on (\\S+)`)))[1] as string
    this.controlAddress = await bound('Control API')
    this.fleetAddress = await bound('Fleet API')
    this.mainAddress = await bound('API')
    this.#writeConfig()
  }

  /** SuperNodes and `flwr` that are started from now on use these addresses, such as those of a load balancer. */
  useAddresses({ fleet, control, main }: Readonly<Record<'fleet' | 'control' | 'main', string>>): void {
    this.fleetAddress = fleet
    this.controlAddress = control
    this.mainAddress = main
    this.#writeConfig()
  }

  /** Starts a SuperNode; with mutual TLS it gets a certificate of its own. Resolves when it has joined. */
  async startSupernode(
    name: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<TestProgram> {
    const tls = this.#ca ? await this.#nodeTls(name) : ['--insecure']
    const node = this.start('flower-supernode', [...tls, '--superlink', this.fleetAddress, ...args], { env })
    await node.line(/SuperNode ID: (\d+)/)
    return node
  }

  /** Starts a program that ends with the deployment, also when its test fails before. */
  start(name: string, args: readonly string[], options: StartOptions = {}): TestProgram {
    const env = { ...this.environment, ...options.env }
    return this.#stack.use(start(name, args, { cwd: this.directory.path, ...options, env }))
  }

  flwr(...args: string[]): ReturnType<typeof run> {
    return run('flwr', args, { cwd: this.directory.path, env: this.environment })
  }

  /**
   * Process ids of programs of that name that run for this deployment, also if another program started them. Without app
   * processes that wait for their first run, or only those.
   */
  children(program: string, { ready = false } = {}): number[] {
    const found = processesWith(this.environment.FLWR_HOME as string)
    const wanted = found.filter((one) => one.command.includes(program) && isReadyApp(one) === ready)
    return wanted.map(({ pid }) => pid)
  }

  /** Writes an app into the folder of the deployment and returns its folder. */
  writeApp({ name = 'testapp', ...sources }: AppSources & { name?: string }): string {
    return writeApp(this.directory.file(name), sources)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const wasKilled = this.superlink?.child.signalCode === 'SIGKILL'
    // A ServerApp that a failed test has left under way would wait for its SuperLink.
    this.superlink?.kill('SIGINT')
    await this.#stack.disposeAsync()
    // That of a killed SuperLink waits, as it should, for one that never comes.
    if (wasKilled) endProcessesWith(this.environment.FLWR_HOME as string)
  }

  /** The options of its TLS. */
  superlinkTls(): string[] {
    if (!this.#ca) return ['--insecure']
    const { file } = this.directory
    return [
      ...[
        '--ssl-ca-certfile',
        this.#ca.certfile,
        '--ssl-certfile',
        file('server.pem'),
        '--ssl-keyfile',
        file('server.key'),
      ],
      '--ssl-require-client-auth',
    ]
  }

  async #nodeTls(name: string): Promise<string[]> {
    const { certfile, keyfile } = await this.ca.issue(name)
    return ['--root-certificates', this.ca.certfile, '--ssl-client-certfile', certfile, '--ssl-client-keyfile', keyfile]
  }

  #writeConfig(): void {
    const { file } = this.directory
    const trust = this.#ca
      ? `root-certificates = "${this.#ca.certfile}"\nclient-certificate = "${file('cli.pem')}"\nclient-private-key = "${file('cli.key')}"`
      : 'insecure = true'
    mkdirSync(this.environment.FLWR_HOME as string, { recursive: true })
    writeFileSync(
      join(this.environment.FLWR_HOME as string, 'config.toml'),
      `[superlink]\ndefault = "test"\n[superlink.test]\naddress = "${this.controlAddress}"\n${trust}\n`,
    )
  }
}
