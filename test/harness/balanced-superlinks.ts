import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Deployment } from './deployment.ts'
import { freePort } from './free-port.ts'
import { objectServerKeys } from './object-server.ts'
import { PostgresServer, withoutPostgres } from './postgres.ts'
import { eventually, TestProgram } from './program.ts'
import { Relay } from './relay.ts'

const haproxy = process.env.TRELLIS_HAPROXY

/** Why tests with several SuperLinks are skipped. */
export const withoutBalancer = withoutPostgres || (haproxy === undefined ? 'HAProxy is not installed' : false)

const apis = ['fleet', 'control', 'main'] as const
type Addresses = Record<(typeof apis)[number], string>

/** What the policy of the SuperLinks says at first. */
export const firstPolicy = '[[allow]]\nidentity = "*"\nroles = ["supernode", "cli"]\n'

/** Arguments of the programs. */
interface Commands {
  readonly superlinks: readonly (readonly string[])[]
  readonly superexec: readonly string[]
}

/**
 * SuperLinks on one PostgreSQL database behind HAProxy, which passes on TCP to the one that listens. SuperNodes, `flwr` and the
 * SuperExec know the address of HAProxy alone. Connections to the database go through a relay that can be cut. Large objects are
 * in a folder that the SuperLinks share, or in a bucket.
 */
export class BalancedSuperlinks implements AsyncDisposable {
  readonly deployment: Deployment
  readonly database: PostgresServer
  /** Between the SuperLinks and the database. */
  readonly relay: Relay
  /** The certificates that SuperLinks reject. */
  readonly crl: string
  readonly policy: string
  readonly superlinks: TestProgram[]
  superexec: TestProgram
  readonly #commands: Commands
  readonly #stack: AsyncDisposableStack

  private constructor(
    parts: Pick<
      BalancedSuperlinks,
      'deployment' | 'database' | 'relay' | 'crl' | 'policy' | 'superlinks' | 'superexec'
    >,
    commands: Commands,
    stack: AsyncDisposableStack,
  ) {
    this.deployment = parts.deployment
    this.database = parts.database
    this.relay = parts.relay
    this.crl = parts.crl
    this.policy = parts.policy
    this.superlinks = parts.superlinks
    this.superexec = parts.superexec
    this.#commands = commands
    this.#stack = stack
  }

  /** `environment` is that of every program; `python`: arguments for the environment of Python apps. */
  static async start(
    count: number,
    {
      environment = {},
      python = [],
      storage,
    }: {
      environment?: Readonly<Record<string, string>>
      python?: readonly string[]
      /** The URL of a bucket. */
      storage?: string
    } = {},
  ): Promise<BalancedSuperlinks> {
    await using stack = new AsyncDisposableStack()
    const database = stack.use(await PostgresServer.start())
    await database.sql('CREATE DATABASE flower')
    const relay = stack.use(await Relay.start(database.port))
    const places = await Promise.all(Array.from({ length: count }, chooseAddresses))
    const argumentsOf = (index: number): string[] => [
      ...argumentsFor(places[index] as Addresses),
      ...(storage ? ['--storage-credentials-file', keysOf(index)] : []),
    ]
    let crl = ''
    let policy = ''
    let common: readonly string[] = []
    const deployment = stack.use(
      await Deployment.create({
        mutualTls: true,
        environment,
        superlinkArguments: async ({ directory, ca }) => {
          crl = directory.file('crl.pem')
          writeFileSync(crl, await ca.crl([], 1))
          policy = directory.file('policy.toml')
          writeFileSync(policy, firstPolicy)
          for (const index of places.keys()) writeFileSync(directory.file(keysOf(index)), bucketKeys, { mode: 0o600 })
          writeFileSync(directory.file('secret'), randomBytes(32).toString('hex'), { mode: 0o600 })
          common = [
            ...['--database', `postgres://trellis@127.0.0.1:${relay.port}/flower`],
            ...(storage ? ['--storage', storage] : ['--storage-dir', directory.file('objects')]),
            ...['--ssl-client-crl', crl, '--ssl-client-policy', policy],
            ...['--isolation', 'process', '--superexec-auth-secret-file', directory.file('secret')],
            ...['--serverappio-api-address', '127.0.0.1:0', '--health-server-address', '127.0.0.1:0'],
          ]
          return [...common, ...argumentsOf(0)]
        },
      }),
    )
    const superlinks = places.map((_, index) => [...deployment.superlinkTls(), ...common, ...argumentsOf(index)])
    const others = superlinks.slice(1).map((args) => deployment.start('flower-superlink', args))
    const shared = await chooseAddresses()
    stack.use(await startHaproxy(deployment, shared, places))
    deployment.useAddresses(shared)
    const commands = {
      superlinks,
      superexec: [
        ...['--runtime-api-address', shared.main, '--root-certificates', deployment.ca.certfile],
        ...['--superexec-auth-secret-file', deployment.directory.file('secret'), ...python],
      ],
    }
    const parts = {
      ...{ deployment, database, relay, crl, policy, superlinks: [deployment.superlink, ...others] },
      superexec: deployment.start('flower-superexec', commands.superexec),
    }
    return new BalancedSuperlinks(parts, commands, stack.move())
  }

  /** Starts the SuperLink again that was the n-th. */
  restart(index: number): TestProgram {
    const again = this.deployment.start('flower-superlink', this.#commands.superlinks[index] as readonly string[])
    this.superlinks[index] = again
    return again
  }

  restartSuperexec(): void {
    this.superexec = this.deployment.start('flower-superexec', this.#commands.superexec)
  }

  /** The file with the keys of the n-th SuperLink for the bucket. */
  bucketKeys(index: number): string {
    return this.deployment.directory.file(keysOf(index))
  }

  /** The index of the one that serves. */
  async active(): Promise<number> {
    const look = (): number => this.superlinks.findIndex((one) => !one.hasEnded && isServing(one.said))
    return (await eventually('a SuperLink that serves', () => look() >= 0 && { index: look() }, 300_000)).index
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

const { accessKeyId, secretAccessKey } = objectServerKeys
const keysOf = (index: number): string => `bucket-keys-${index}`
const bucketKeys = `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`

/** What it said last counts: it may have served before. */
function isServing(said: string): boolean {
  return said.lastIndexOf('Starting API on') > said.lastIndexOf('standby')
}

async function chooseAddresses(): Promise<Addresses> {
  const address = async (): Promise<string> => `127.0.0.1:${await freePort()}`
  return { fleet: await address(), control: await address(), main: await address() }
}

function argumentsFor({ fleet, control, main }: Addresses): string[] {
  const port = main.split(':')[1] as string
  return ['--fleet-api-address', fleet, '--control-api-address', control, '--port', port]
}

/** As in `docs/guides/postgresql.md`. */
async function startHaproxy(
  { directory }: Deployment,
  shared: Addresses,
  places: readonly Addresses[],
): Promise<TestProgram> {
  const sections = apis.map((api) => {
    const servers = places.flatMap((place, index) => [
      `  server s${index} ${place[api]}`,
      `  server wait${index} ${place[api]} backup no-check`,
    ])
    return [
      `frontend ${api}`,
      `  bind ${shared[api]}`,
      `  default_backend ${api}-superlinks`,
      `backend ${api}-superlinks`,
      '  option tcp-check',
      '  retries 30',
      '  option redispatch 1',
      '  option allbackups',
      '  option srvtcpka',
      '  srvtcpka-idle 2s',
      '  srvtcpka-intvl 1s',
      '  srvtcpka-cnt 3',
      '  default-server check inter 500ms fall 1 rise 1',
      ...servers,
    ].join('\n')
  })
  const defaults = 'defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h'
  const file = directory.file('haproxy.cfg')
  writeFileSync(file, `${['global\n  maxconn 500', defaults, ...sections].join('\n')}\n`)
  const child = spawn(haproxy as string, ['-db', '-f', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LD_LIBRARY_PATH: process.env.TRELLIS_HAPROXY_LIBRARIES },
  })
  return new TestProgram('haproxy', child)
}
