import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeKey } from '../src/identity/node-key.ts'
import { TestCa } from '../test/harness/certificates.ts'
import { freePort } from '../test/harness/free-port.ts'
import { start, type TestProgram } from '../test/harness/program.ts'

/** How to start one of the two systems, and where its programs and apps are. */
export interface Flower {
  readonly bin: string
  /** Address flag of the API for apps, and what the programs need in their environment. */
  readonly runtimeAddress: (port: number) => string[]
  readonly environment: Readonly<Record<string, string>>
  /** The arguments beyond addresses and database. */
  readonly superlinkArguments: (ca: TestCa) => Promise<string[]>
  readonly supernodeArguments: (ca: TestCa, name: string) => Promise<string[]>
  readonly connection: (ca: TestCa) => Promise<string>
  /** Says that its APIs are open; the groups are Control and Fleet. */
  readonly ready: RegExp
  /** Writes the app that adds a number of each node to every weight, and returns its folder. */
  readonly writeApp: (directory: string, options: { floats: number; rounds: number }) => string
  /** How a load generator proves its identity. */
  readonly loadCredential: (
    ca: TestCa,
    name?: string,
  ) => Promise<{ certificate?: { chainPem: string; keyPem: string }; key: NodeKey }>
  readonly signsCalls: boolean
}

export interface Deployment {
  readonly flower: Flower
  readonly ca: TestCa
  readonly fleetAddress: string
  readonly superlinkPid: number
  /** Runs the app and returns the seconds that its strategy took. */
  train(options: { floats: number; rounds: number }): Promise<number>
}

/** A SuperLink with a file database and `nodes` SuperNodes, for one measurement. */
export async function withDeployment<T>(
  flower: Flower,
  directory: string,
  nodes: number,
  body: (deployment: Deployment) => Promise<T>,
): Promise<T> {
  mkdirSync(directory, { recursive: true })
  const ca = await TestCa.create(directory)
  const environment = {
    FLWR_HOME: join(directory, 'home'),
    FLWR_TELEMETRY_ENABLED: '0',
    FLWR_DISABLE_UPDATE_CHECK: '1',
  }
  const options = { cwd: directory, env: { ...environment, ...flower.environment }, bin: flower.bin }
  await using stack = new AsyncDisposableStack()
  const [fleet, control, runtime] = [await freePort(), await freePort(), await freePort()]
  const launch = (name: string, args: readonly string[]): TestProgram => stack.use(start(name, args, options))
  const superlink = launch('flower-superlink', [
    ...['--database', join(directory, 'state.db'), ...(await flower.superlinkArguments(ca))],
    ...['--fleet-api-address', `127.0.0.1:${fleet}`, '--control-api-address', `127.0.0.1:${control}`],
    ...flower.runtimeAddress(runtime),
  ])
  await superlink.line(flower.ready, 300_000)
  for (let node = 1; node <= nodes; node++) {
    const supernode = launch('flower-supernode', [
      ...(await flower.supernodeArguments(ca, `node-${node}`)),
      ...['--superlink', `127.0.0.1:${fleet}`, '--clientappio-api-address', `127.0.0.1:${await freePort()}`],
    ])
    await supernode.line(/SuperNode ID/, 300_000)
  }
  return await body({
    flower,
    ca,
    fleetAddress: `127.0.0.1:${fleet}`,
    superlinkPid: superlink.pid,
    async train(app) {
      const folder = flower.writeApp(directory, app)
      await writeConfig(environment.FLWR_HOME, `127.0.0.1:${control}`, await flower.connection(ca))
      const run = launch('flwr', ['run', folder, 'bench', '--stream'])
      await run.end(1_800_000)
      const seconds = /Strategy execution finished in ([\d.]+)s/.exec(run.said)?.[1]
      if (seconds === undefined) throw new Error(`The run did not finish:\n${run.said}`)
      return Number(seconds)
    },
  })
}

async function writeConfig(home: string, address: string, trust: string): Promise<void> {
  const { mkdir, writeFile } = await import('node:fs/promises')
  await mkdir(home, { recursive: true })
  await writeFile(join(home, 'config.toml'), `[superlink.bench]\naddress = "${address}"\n${trust}\n`)
}
