import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { TestCa } from '../../test/harness/certificates.ts'
import { start } from '../../test/harness/program.ts'
import { type Counts, percentile, sumOf, total } from '../fleet/fleet-counts.ts'
import { ObservedSuperlink } from '../fleet/observed-superlink.ts'
import { SimulatedFleet } from '../fleet/simulated-fleet.ts'
import { loadBelow } from '../processes.ts'
import { spreadOf } from '../spread.ts'
import type { ScaleSystem } from './system.ts'

/**
 * What a fleet of simulated SuperNodes costs the SuperLink. Times are of this machine, which the generator shares. What was not
 * reached before a failure is NaN.
 */
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
  /** Processor time in rounds, as shares of one core. */
  readonly busy: { readonly superlink: number; readonly apps: number; readonly generator: number }
  readonly callsPerNodeAndRound: number
  /** Those of them that depend on the time that a round takes: heartbeats, and pulls that returned no message. */
  readonly waitingCallsPerNodeAndRound: number
  readonly lostCalls: Readonly<Record<string, number>>
  readonly lost: number
  /** At rest. */
  readonly megabytesAfterRound: { readonly first: number; readonly last: number }
  /** The most at any time. */
  readonly peakMegabytes: number
  readonly appMegabytes: number
  readonly eventLoopDelayMs: { readonly p99: number; readonly max: number }
  /** Executions of each SQL statement, per node and round. */
  readonly statements: Readonly<Record<string, number>>
  readonly statementsPerNodeAndRound: number
  readonly commitsPerNodeAndRound: number
  /** Why the measurement ended early. */
  readonly failure: string | undefined
}

export interface ScaleOptions {
  readonly directory: string
  readonly system: ScaleSystem
  readonly nodes: number
  readonly rounds: number
  readonly idleSeconds: number
  /** What the joins left to be done, e.g. copying the log of the database and giving memory back, is not idle time. */
  readonly settleMs: number
  /** Between two rounds. */
  readonly pauseMs: number
  /** After the first round and the last, before memory is read: a program may give memory back when it is at rest. */
  readonly restMs: number
  /** More options of Node for the SuperLink, e.g. a profiler. */
  readonly nodeOptions?: string
  /** For all of it, and for one round. */
  readonly limitSeconds: number
}

type Reached = { -readonly [K in keyof ScaleFigures]: ScaleFigures[K] }

/** Measures one fleet. A failure ends the measurement, and what was measured until then remains. */
export async function measureScale(options: ScaleOptions): Promise<ScaleFigures> {
  const reached = nothingYet(options.nodes)
  if (options.limitSeconds <= 0) return { ...reached, failure: 'There was no time left for it.' }
  const timeout = new AbortController()
  const late = delay(options.limitSeconds * 1000, undefined, { signal: timeout.signal }).then(
    () => Promise.reject(new Error(`It was not done after ${options.limitSeconds} s.`)),
    () => {},
  )
  await using stack = new AsyncDisposableStack()
  try {
    await Promise.race([measureInto(reached, options, stack), late])
  } catch (error) {
    reached.failure = (error as Error).message
  } finally {
    timeout.abort()
  }
  return reached
}

async function measureInto(reached: Reached, options: ScaleOptions, stack: AsyncDisposableStack): Promise<void> {
  const { directory, system, nodes } = options
  mkdirSync(directory, { recursive: true })
  const ca = await TestCa.create(directory)
  const started = await system.startSuperlink(directory, ca, { nodeOptions: options.nodeOptions ?? '' })
  stack.use(started.program)
  const superlink = new ObservedSuperlink(started.program)
  const [host = '', port] = started.fleetAddress.split(':')
  const { credentials, pollPauseMs, messages } = system
  const settings = { host, port: Number(port), ca: ca.issued, joinsAtOnce: 50, credentials, pollPauseMs, messages }
  const fleet = stack.use(await SimulatedFleet.prepare({ ...settings, nodes }))

  const joinedAt = performance.now()
  await fleet.join()
  reached.secondsUntilOnline = (performance.now() - joinedAt) / 1000
  const { counts: joined } = await fleet.report()
  reached.joinsRepeated = joined.joinsRepeated
  noteLost(reached, joined)

  await delay(options.settleMs)
  const idleFrom = superlink.cpuSeconds()
  await delay(options.idleSeconds * 1000)
  reached.idleCpuPercent = ((superlink.cpuSeconds() - idleFrom) / options.idleSeconds) * 100
  reached.idleMegabytes = superlink.residentMegabytes()

  const working = new WorkingTime(superlink, fleet)
  await working.begin()
  if (system.isObserved) await superlink.look()
  const rounds = await train(options, {
    ca,
    controlAddress: started.controlAddress,
    superlink,
    working,
    pid: started.program.pid,
  })
  await working.end()
  const { cpuSeconds, generatorCpuSeconds, counts } = working
  const perNodeAndRound = nodes * options.rounds
  if (system.isObserved) {
    const { eventLoopDelayMs, statements } = await superlink.look()
    reached.eventLoopDelayMs = eventLoopDelayMs
    reached.statements = perNode(statements, perNodeAndRound)
    reached.statementsPerNodeAndRound = total(reached.statements)
    reached.commitsPerNodeAndRound = reached.statements.COMMIT ?? 0
  }
  const seconds = rounds.seconds.reduce((sum, one) => sum + one, 0)
  reached.latencyMs = { p50: percentile(counts.latenciesMs, 0.5), p99: percentile(counts.latenciesMs, 0.99) }
  reached.roundSeconds = { first: rounds.seconds[0] ?? Number.NaN, median: spreadOf(rounds.seconds).median }
  reached.cpuMsPerNodeAndRound = (cpuSeconds * 1000) / perNodeAndRound
  reached.busy = {
    superlink: cpuSeconds / seconds,
    apps: rounds.appCpuSeconds / seconds,
    generator: generatorCpuSeconds / seconds,
  }
  reached.callsPerNodeAndRound = total(counts.calls) / perNodeAndRound
  reached.waitingCallsPerNodeAndRound = counts.waitingCalls / perNodeAndRound
  reached.megabytesAfterRound = {
    first: rounds.megabytes[0] ?? Number.NaN,
    last: rounds.megabytes.at(-1) ?? Number.NaN,
  }
  reached.peakMegabytes = superlink.peakMegabytes()
  reached.appMegabytes = rounds.appMegabytes
  noteLost(reached, counts)
}

/** Adds up what happens in rounds. The rest after a round is no part of it, but no call may be lost in it either. */
class WorkingTime {
  cpuSeconds = 0
  generatorCpuSeconds = 0
  counts = sumOf([])
  readonly #superlink: ObservedSuperlink
  readonly #fleet: SimulatedFleet

  constructor(superlink: ObservedSuperlink, fleet: SimulatedFleet) {
    this.#superlink = superlink
    this.#fleet = fleet
  }

  async begin(): Promise<void> {
    const { counts, cpuSeconds } = await this.#fleet.report()
    this.counts = sumOf([this.counts, { ...sumOf([]), lostCalls: counts.lostCalls }])
    this.generatorCpuSeconds -= cpuSeconds
    this.cpuSeconds -= this.#superlink.cpuSeconds()
  }

  async end(): Promise<void> {
    const { counts, cpuSeconds } = await this.#fleet.report()
    this.counts = sumOf([this.counts, counts])
    this.generatorCpuSeconds += cpuSeconds
    this.cpuSeconds += this.#superlink.cpuSeconds()
  }
}

function nothingYet(nodes: number): Reached {
  const none = Number.NaN
  return {
    nodes,
    secondsUntilOnline: none,
    joinsRepeated: none,
    idleCpuPercent: none,
    idleMegabytes: none,
    latencyMs: { p50: none, p99: none },
    roundSeconds: { first: none, median: none },
    cpuMsPerNodeAndRound: none,
    busy: { superlink: none, apps: none, generator: none },
    callsPerNodeAndRound: none,
    waitingCallsPerNodeAndRound: none,
    lostCalls: {},
    lost: none,
    megabytesAfterRound: { first: none, last: none },
    peakMegabytes: none,
    appMegabytes: none,
    eventLoopDelayMs: { p99: none, max: none },
    statements: {},
    statementsPerNodeAndRound: none,
    commitsPerNodeAndRound: none,
    failure: undefined,
  }
}

/** Trains for some rounds. Returns what each took, the memory of the SuperLink after it, and what the ServerApp needed. */
async function train(
  { directory, system, nodes, rounds, pauseMs, restMs, limitSeconds }: ScaleOptions,
  about: { ca: TestCa; controlAddress: string; superlink: ObservedSuperlink; working: WorkingTime; pid: number },
): Promise<{ seconds: number[]; megabytes: number[]; appCpuSeconds: number; appMegabytes: number }> {
  const { ca, controlAddress, superlink, working, pid } = about
  const home = join(directory, 'home')
  mkdirSync(home, { recursive: true })
  const connection = `[superlink.bench]\naddress = "${controlAddress}"\n${await system.connection(ca)}\n`
  writeFileSync(join(home, 'config.toml'), connection)
  const app = system.writeApp(
    join(directory, 'scaleapp'),
    // The rest of the app is a little longer, so that no round begins before memory is read.
    `nodes = ${nodes}\nrounds = ${rounds}\npause-ms = ${pauseMs}\nrest-ms = ${restMs + pauseMs}`,
  )
  const before = loadBelow(pid)
  await using run = start('flwr', ['run', app, 'bench', '--stream'], {
    bin: system.bin,
    cwd: directory,
    env: { ...system.environment, FLWR_HOME: home },
  })
  const seconds: number[] = []
  const megabytes: number[] = []
  let apps = before
  for (let round = 1; round <= rounds; round++) {
    const [, ms] = await run.line(new RegExp(`bench: round ${round} took ([\\d.]+) ms`), limitSeconds * 1000)
    seconds.push(Number(ms) / 1000)
    apps = loadBelow(pid)
    if (round === 1 || round === rounds) {
      await working.end()
      await delay(restMs)
      megabytes.push(superlink.residentMegabytes())
      await working.begin()
    }
  }
  await run.end()
  return {
    seconds,
    megabytes,
    appCpuSeconds: apps.cpuSeconds - before.cpuSeconds,
    appMegabytes: apps.megabytes - before.megabytes,
  }
}

function noteLost(reached: Reached, { lostCalls }: Counts): void {
  reached.lostCalls = { ...reached.lostCalls, ...lostCalls }
  reached.lost = total(reached.lostCalls)
}

function perNode(counts: Readonly<Record<string, number>>, nodesAndRounds: number): Record<string, number> {
  const sorted = Object.entries(counts).toSorted(([, one], [, other]) => other - one)
  return Object.fromEntries(sorted.map(([name, count]) => [name, count / nodesAndRounds]))
}
