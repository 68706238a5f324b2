import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { TestCa } from '../test/harness/certificates.ts'
import { start, type TestProgram } from '../test/harness/program.ts'
import { writeApp } from '../test/harness/write-app.ts'
import { type Counts, percentile, total } from './fleet/fleet-counts.ts'
import { ObservedSuperlink, observed } from './fleet/observed-superlink.ts'
import { SimulatedFleet } from './fleet/simulated-fleet.ts'
import { scaleClient, scaleServer } from './scale-app.ts'

/** What a fleet of simulated SuperNodes costs the SuperLink. Times are of this machine, which the generator shares. */
export interface ScaleFigures {
  readonly nodes: number
  readonly secondsUntilOnline: number
  readonly joinsRepeated: number
  /** Of one processor core. */
  readonly idleCpuPercent: number
  readonly idleMegabytes: number
  readonly latencyMs: { readonly p50: number; readonly p99: number }
  readonly roundSeconds: { readonly first: number; readonly median: number }
  /** Processor time of the SuperLink. */
  readonly cpuMsPerNodeAndRound: number
  readonly callsPerNodeAndRound: number
  readonly lostCalls: Readonly<Record<string, number>>
  readonly megabytesAfterRound: { readonly first: number; readonly last: number }
  readonly eventLoopDelayMs: { readonly p99: number; readonly max: number }
  /** Executions of each SQL statement, per node and round. */
  readonly statements: Readonly<Record<string, number>>
}

export interface ScaleOptions {
  readonly directory: string
  /** Folder of our programs. */
  readonly bin: string
  readonly nodes: number
  readonly rounds: number
  readonly idleSeconds: number
  /** What the joins left to be done, e.g. copying the log of the database, is not idle time. */
  readonly settleMs: number
  /** Between two rounds. */
  readonly pauseMs: number
  /** More options of Node for the SuperLink, e.g. a profiler. */
  readonly nodeOptions?: string
}

const roundSecondsMax = 300

export async function measureScale(options: ScaleOptions): Promise<ScaleFigures> {
  const { directory, bin, nodes } = options
  mkdirSync(directory, { recursive: true })
  const ca = await TestCa.create(directory)
  await using stack = new AsyncDisposableStack()
  const { program, fleetAddress, controlAddress } = await startSuperlink(options, ca)
  stack.use(program)
  const superlink = new ObservedSuperlink(program)
  const [host = '', port] = fleetAddress.split(':')
  const settings = { host, port: Number(port), ca: ca.issued, joinsAtOnce: 50 }
  const fleet = stack.use(await SimulatedFleet.prepare({ ...settings, nodes }))

  const joinedAt = performance.now()
  await fleet.join()
  const secondsUntilOnline = (performance.now() - joinedAt) / 1000
  const { counts: joined } = await fleet.report()

  await delay(options.settleMs)
  const idleFrom = superlink.cpuSeconds()
  await delay(options.idleSeconds * 1000)
  const idleCpuPercent = ((superlink.cpuSeconds() - idleFrom) / options.idleSeconds) * 100
  const idleMegabytes = superlink.residentMegabytes()

  await fleet.report()
  await superlink.look()
  const busyFrom = superlink.cpuSeconds()
  const rounds = await train(options, { ca, controlAddress, superlink, bin })
  const cpuSeconds = superlink.cpuSeconds() - busyFrom
  const { eventLoopDelayMs, statements } = await superlink.look()
  const { counts } = await fleet.report()
  const perNodeAndRound = nodes * options.rounds
  return {
    nodes,
    secondsUntilOnline,
    joinsRepeated: joined.joinsRepeated,
    idleCpuPercent,
    idleMegabytes,
    latencyMs: { p50: percentile(counts.latenciesMs, 0.5), p99: percentile(counts.latenciesMs, 0.99) },
    roundSeconds: { first: rounds.seconds[0] ?? Number.NaN, median: percentile(rounds.seconds, 0.5) },
    cpuMsPerNodeAndRound: (cpuSeconds * 1000) / perNodeAndRound,
    callsPerNodeAndRound: total(counts.calls) / perNodeAndRound,
    lostCalls: lostOf(joined, counts),
    megabytesAfterRound: { first: rounds.megabytes[0] ?? Number.NaN, last: rounds.megabytes.at(-1) ?? Number.NaN },
    eventLoopDelayMs,
    statements: perNode(statements, perNodeAndRound),
  }
}

async function startSuperlink({ directory, bin, nodeOptions = '' }: ScaleOptions, ca: TestCa) {
  const { certfile, keyfile } = await ca.server()
  const program = start(
    'flower-superlink',
    [
      ...['--ssl-ca-certfile', ca.certfile, '--ssl-certfile', certfile, '--ssl-keyfile', keyfile],
      ...['--ssl-require-client-auth', '--database', join(directory, 'state.db')],
      ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0', '--port', '0'],
    ],
    { bin, cwd: directory, env: { NODE_OPTIONS: `${observed.NODE_OPTIONS} ${nodeOptions}` } },
  )
  const [, fleetAddress = ''] = await program.line(/Starting Fleet API on (\S+)/)
  const [, controlAddress = ''] = await program.line(/Starting Control API on (\S+)/)
  return { program, fleetAddress, controlAddress }
}

/** Trains for some rounds. Returns what each took, and the memory of the SuperLink after it. */
async function train(
  { directory, nodes, rounds, pauseMs }: ScaleOptions,
  about: { ca: TestCa; controlAddress: string; superlink: ObservedSuperlink; bin: string },
): Promise<{ seconds: number[]; megabytes: number[] }> {
  const { ca, controlAddress, superlink, bin } = about
  const home = join(directory, 'home')
  mkdirSync(home, { recursive: true })
  const cli = await ca.issue('cli')
  const trust = `root-certificates = "${ca.certfile}"\nclient-certificate = "${cli.certfile}"\nclient-private-key = "${cli.keyfile}"`
  writeFileSync(join(home, 'config.toml'), `[superlink.bench]\naddress = "${controlAddress}"\n${trust}\n`)
  const config = `nodes = ${nodes}\nrounds = ${rounds}\npause-ms = ${pauseMs}`
  const app = writeApp(join(directory, 'scaleapp'), { server: scaleServer, client: scaleClient, config })
  await using run: TestProgram = start('flwr', ['run', app, 'bench', '--stream'], {
    bin,
    cwd: directory,
    env: { FLWR_HOME: home },
  })
  const seconds: number[] = []
  const megabytes: number[] = []
  for (let round = 1; round <= rounds; round++) {
    const [, ms] = await run.line(new RegExp(`bench: round ${round} took ([\\d.]+) ms`), roundSecondsMax * 1000)
    seconds.push(Number(ms) / 1000)
    megabytes.push(superlink.residentMegabytes())
  }
  await run.end()
  return { seconds, megabytes }
}

function lostOf(...counts: readonly Counts[]): Record<string, number> {
  return Object.assign({}, ...counts.map(({ lostCalls }) => lostCalls))
}

function perNode(counts: Readonly<Record<string, number>>, nodesAndRounds: number): Record<string, number> {
  const sorted = Object.entries(counts).toSorted(([, one], [, other]) => other - one)
  return Object.fromEntries(sorted.map(([name, count]) => [name, count / nodesAndRounds]))
}
