import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { writeApp } from '../../test/harness/write-app.ts'
import { type Flower, withDeployment } from '../deployment.ts'
import { thisMachine } from '../machine.ts'
import { keepForPage } from '../page/main.ts'
import { type Spread, spreadOf } from '../spread.ts'
import { printTable } from '../table.ts'
import { waterfallTables } from './tables.ts'
import { readTrace, type TraceEvent, traceEnvironment } from './trace.ts'

/** Where each millisecond goes, from `flwr run` to the last reply, with 2 SuperNodes that have run the app before. */
export interface Waterfall {
  /** From the start of `flwr run`, in ms. */
  readonly steps: Readonly<Record<string, number>>
  /** Of a round, with ClientApps that do next to nothing: when the code of all programs is warm, and of the first rounds. */
  readonly roundMs: Spread
  /** Absent of figures that were kept before it was measured. */
  readonly firstRoundsMs?: Spread
  /** Calls, marks and starts of programs, from the start of `flwr run` until round 1 ends. */
  readonly start: readonly TimedEvent[]
  /** The round of median length, from its begin. */
  readonly round: readonly TimedEvent[]
}

export interface TimedEvent {
  readonly program: string
  readonly name: string
  readonly atMs: number
  /** Absent of a mark. */
  readonly ms?: number
}

const nodes = 2
const rounds = 100
/** In the first rounds V8 compiles the code of all programs. */
const warmAfter = 50
const firstRounds = 10
/** SuperExecs start the processes of the next run two seconds after the end of the last. */
const betweenRunsMs = 5000
/** Until the last events are written. */
const writtenMs = 500

/** `npm run bench -- waterfall [--json FILE] [--page]` */
export async function benchWaterfall(directory: string, flower: Flower, args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { json: { type: 'string' }, page: { type: 'boolean' } } })
  const waterfall = await measureWaterfall(directory, flower)
  if (values.json) writeFileSync(values.json, `${JSON.stringify(waterfall, null, 1)}\n`)
  if (values.page) await keepForPage('waterfall', { machine: thisMachine(), ...waterfall })
  const { steps, start, round } = waterfallTables(waterfall)
  printTable(steps)
  process.stdout.write('\nFrom flwr run to the end of round 1:\n')
  printTable(start)
  process.stdout.write('\nThe round of median length:\n')
  printTable(round)
}

export async function measureWaterfall(directory: string, flower: Flower): Promise<Waterfall> {
  const folder = join(directory, 'trace')
  mkdirSync(folder, { recursive: true })
  const traced: Flower = {
    ...flower,
    environment: { ...flower.environment, ...traceEnvironment(folder) },
    writeApp: (where, options) =>
      writeApp(join(where, 'app'), { server, client, config: `rounds = ${options.rounds}\nnodes = ${nodes}` }),
  }
  return await withDeployment(traced, join(directory, 'waterfall'), nodes, async (deployment) => {
    await deployment.train({ floats: 0, rounds: 1 })
    await delay(betweenRunsMs)
    const from = performance.timeOrigin + performance.now()
    await deployment.train({ floats: 0, rounds })
    await delay(writtenMs)
    return waterfallOf(readTrace(folder).filter(({ at }) => at >= from))
  })
}

function waterfallOf(events: readonly TraceEvent[]): Waterfall {
  const begin = required(events, ({ kind, program }) => kind === 'program' && program === 'flwr').at
  const since = (matches: (event: TraceEvent) => boolean, end = false): number => {
    const event = events.find(matches)
    return event ? (end ? (event.endAt ?? Number.NaN) : event.at) - begin : Number.NaN
  }
  const isCall = (method: string) => (event: TraceEvent) => event.kind === 'client' && event.name.endsWith(`/${method}`)
  const isMark = (name: string) => (event: TraceEvent) => event.kind === 'mark' && event.name === name
  const all = Array.from({ length: rounds }, (_, index) => {
    const round = index + 1
    const [from, to] = [
      required(events, isMark(`round ${round} begins`)).at,
      required(events, isMark(`round ${round} ends`)).at,
    ]
    return { round, from, to, ms: to - from }
  })
  const warm = all.slice(warmAfter)
  const middle = warm.toSorted((one, other) => one.ms - other.ms)[warm.length >> 1]
  const { from = 0, to = 0 } = middle ?? {}
  return {
    steps: {
      'flwr sends the app': since(isCall('StartRun')),
      'the SuperLink has accepted the run': since(isCall('StartRun'), true),
      'the ServerApp begins': since(isMark('ServerApp begins')),
      'a ClientApp has its first instruction': since(isMark('instruction')),
      'round 1 ends': since(isMark('round 1 ends')),
      [`round ${rounds} ends`]: since(isMark(`round ${rounds} ends`)),
      'the ServerApp ends': since(isMark('ServerApp ends')),
    },
    roundMs: spreadOf(warm.map(({ ms }) => ms)),
    firstRoundsMs: spreadOf(all.slice(1, firstRounds).map(({ ms }) => ms)),
    start: between(events, begin, required(events, isMark('round 1 ends')).at),
    round: between(events, from, to),
  }
}

function between(events: readonly TraceEvent[], from: number, to: number): TimedEvent[] {
  return events
    .filter(({ kind, at, endAt = at }) => kind !== 'server' && at < to && endAt >= from)
    .map(({ kind, program, name, at, endAt }) => ({
      program,
      name: kind === 'program' ? 'starts' : (name.split('.').at(-1) ?? name),
      atMs: at - from,
      ...(endAt === undefined ? {} : { ms: endAt - at }),
    }))
}

function required(events: readonly TraceEvent[], matches: (event: TraceEvent) => boolean): TraceEvent {
  const event = events.find(matches)
  if (!event) throw new Error('The trace is not complete.')
  return event
}

const server = `
import { ArrayRecord, FedAvg, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const mark = globalThis.trellisBenchMark
  const { rounds, nodes } = context.runConfig
  mark('ServerApp begins')
  let arrays = new ArrayRecord({ w: NdArray.from(new Float32Array(1000)) })
  for (let round = 1; round <= Number(rounds); round++) {
    mark('round ' + round + ' begins')
    const strategy = new FedAvg({ fractionEvaluate: 0, minTrainNodes: Number(nodes), minAvailableNodes: Number(nodes) })
    arrays = (await strategy.start(grid, arrays, { numRounds: 1 })).arrays
    mark('round ' + round + ' ends')
  }
  mark('ServerApp ends')
  console.log('Strategy execution finished in 0.0s')
})
`

const client = `
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => {
  globalThis.trellisBenchMark('instruction')
  const next = message.content.arrays('arrays').get('w').values().map((value) => value + 1)
  const metrics = new MetricRecord({ 'num-examples': 1 })
  const reply = message.reply(new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(next) }), metrics }))
  globalThis.trellisBenchMark('reply')
  return reply
})
`
