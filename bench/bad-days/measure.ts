import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateNodeKey } from '../../src/identity/node-key.ts'
import { TestCa } from '../../test/harness/certificates.ts'
import { eventually, start } from '../../test/harness/program.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { type Counts, total } from '../fleet/fleet-counts.ts'
import { ObservedSuperlink } from '../fleet/observed-superlink.ts'
import { SimulatedFleet } from '../fleet/simulated-fleet.ts'
import { nodeTroubles, Troublemakers } from '../fleet/troublemakers.ts'
import { scaleClient } from '../scale/apps.ts'
import type { ScaleSystem } from '../scale/system.ts'
import { badDaysServer } from './app.ts'

/**
 * A run while everything goes wrong. First calm rounds; then some nodes vanish as they receive a message, one takes no
 * response, one sends a byte a second, one replies with 64 MiB of nonsense; and in the middle of the last round but one the
 * SuperLink is killed and started again.
 */
export interface BadDaysFigures {
  /** Time of each round per reply, in ms: of calm rounds, of those with troublemakers, and of the one with the restart. */
  readonly calmMsPerReply: readonly number[]
  readonly stormyMsPerReply: readonly number[]
  /** Processor time of the SuperLink per reply, in ms; other programs of the machine hardly change it. Absent in older figures. */
  readonly calmCpuMsPerReply?: number
  readonly stormyCpuMsPerReply?: number
  /** SQL statements per reply: no load of the machine changes them. Absent in older figures. */
  readonly calmStatementsPerReply?: number
  readonly stormyStatementsPerReply?: number
  readonly restartMs: number
  /** Replies that were missing when a round ended. */
  readonly repliesMissing: number
  /** Steady nodes that were online again after the restart, and all of them. */
  readonly rejoined: number
  readonly steady: number
  /** How the nonsense was refused, and how many slow bodies were ended. */
  readonly refusals: readonly string[]
  readonly slowBodiesEnded: number
  readonly status: number | string | null
  readonly lastCounts: Counts
}

export interface BadDaysOptions {
  readonly directory: string
  readonly system: ScaleSystem
  readonly nodes: number
  /** How many of the nodes vanish. */
  readonly vanishing: number
  readonly calmRounds: number
  readonly stormyRounds: number
  readonly roundSeconds: number
  readonly pauseMs: number
  /** Other kinds of trouble are left out; by default none is. */
  readonly troubles?: readonly string[]
}

interface MeasuredRounds {
  readonly msPerReply: readonly number[]
  /** Of the SuperLink, as the statements. */
  readonly cpuMs: number
  readonly statements: number
}

/** What happens in the stormy rounds, and in one round of its own: the restart. */
const allTroubles: readonly string[] = [...nodeTroubles, 'vanishing', 'restart']

export async function measureBadDays(options: BadDaysOptions): Promise<BadDaysFigures> {
  const { directory, system, nodes, calmRounds, stormyRounds, roundSeconds, troubles = allTroubles } = options
  const vanishing = troubles.includes('vanishing') ? options.vanishing : 0
  const restarts = troubles.includes('restart')
  mkdirSync(directory, { recursive: true })
  const ca = await TestCa.create(directory)
  await using stack = new AsyncDisposableStack()
  const first = await system.startSuperlink(directory, ca)
  stack.use(first.program)
  const [host = '', port] = first.fleetAddress.split(':')
  const peer = { host, port: Number(port), ca: ca.issued }
  const { credentials, pollPauseMs, messages } = system
  const fleet = stack.use(
    await SimulatedFleet.prepare({ ...peer, joinsAtOnce: 20, credentials, pollPauseMs, messages, nodes }),
  )
  const trouble = stack.use(
    await Troublemakers.join({ ...peer, publicKey: generateNodeKey().publicKeyPem, kinds: troubles }),
  )
  await fleet.join()

  // In the first round every node fetches the app, and much code runs for the first time.
  const firstRounds = calmRounds > 0 ? 1 : 0
  const stormyFrom = firstRounds + calmRounds + 1
  const rounds = firstRounds + calmRounds + stormyRounds + (restarts ? 2 : 0)
  const home = join(directory, 'home')
  mkdirSync(home, { recursive: true })
  const connection = `[superlink.bench]\naddress = "${first.controlAddress}"\n${await system.connection(ca)}\n`
  writeFileSync(join(home, 'config.toml'), connection)
  const config = {
    ...{ nodes, steady: nodes - vanishing, rounds, 'calm-rounds': stormyFrom - 1 },
    ...{ 'round-seconds': roundSeconds, 'pause-ms': options.pauseMs },
  }
  const app = writeApp(join(directory, 'baddays'), {
    server: badDaysServer,
    client: scaleClient,
    config: Object.entries(config)
      .map(([name, value]) => `${name} = ${value}`)
      .join('\n'),
  })
  const storm = async (): Promise<void> => {
    trouble.start()
    await fleet.vanish(vanishing)
    if (troubles.includes('nonsense'))
      await eventually('The end of the first nonsense', () => trouble.refusals.length > 0)
  }
  if (calmRounds === 0) await storm()
  const run = stack.use(
    start('flwr', ['run', app, 'bench', '--stream'], { bin: system.bin, cwd: directory, env: { FLWR_HOME: home } }),
  )
  let repliesMissing = 0
  const round = async (number: number): Promise<{ ms: number; msPerReply: number }> => {
    const pattern = new RegExp(`bench: round ${number} has (\\d+) of (\\d+) replies after ([\\d.]+) ms`)
    const [, good, expected, ms] = await run.line(pattern, (roundSeconds + 60) * 1000)
    repliesMissing += Math.max(0, Number(expected) - Number(good))
    return { ms: Number(ms), msPerReply: Number(ms) / Number(expected) }
  }
  const superlink = new ObservedSuperlink(first.program)
  const roundsFrom = async (from: number, count: number): Promise<MeasuredRounds> => {
    await run.line(new RegExp(`bench: round ${from} begins`), (roundSeconds + 60) * 1000)
    await superlink.look()
    const cpuFrom = superlink.cpuSeconds()
    const msPerReply: number[] = []
    for (let number = from; number < from + count; number++) msPerReply.push((await round(number)).msPerReply)
    const cpuMs = (superlink.cpuSeconds() - cpuFrom) * 1000
    return { msPerReply, cpuMs, statements: total((await superlink.look()).statements) }
  }

  const calm = await roundsFrom(firstRounds + 1, calmRounds)
  if (calmRounds > 0) await storm()
  const stormy = await roundsFrom(stormyFrom, stormyRounds)

  const restart = async (): Promise<number> => {
    await run.line(new RegExp(`bench: round ${rounds - 1} begins`))
    await fleet.report()
    first.program.kill('SIGKILL')
    await first.program.end()
    const second = await system.startSuperlink(directory, ca, { addresses: first })
    stack.use(second.program)
    const { ms } = await round(rounds - 1)
    await round(rounds)
    return ms
  }
  const restartMs = restarts ? await restart() : 0
  const status = await run.end()
  const { counts } = await fleet.report()
  return {
    calmMsPerReply: calm.msPerReply,
    stormyMsPerReply: stormy.msPerReply,
    ...(calmRounds > 0
      ? {
          calmCpuMsPerReply: calm.cpuMs / (calmRounds * nodes),
          calmStatementsPerReply: calm.statements / (calmRounds * nodes),
        }
      : {}),
    stormyCpuMsPerReply: stormy.cpuMs / (stormyRounds * (nodes - vanishing)),
    stormyStatementsPerReply: stormy.statements / (stormyRounds * (nodes - vanishing)),
    restartMs,
    repliesMissing,
    rejoined: counts.joined,
    steady: nodes - vanishing,
    refusals: trouble.refusals,
    slowBodiesEnded: trouble.slowBodiesEnded,
    status,
    lastCounts: counts,
  }
}

/** What the steady nodes lost by it, in a word for each method. */
export function lostText({ lostCalls }: Counts): string {
  return total(lostCalls) === 0 ? 'none' : JSON.stringify(lostCalls)
}
