import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { MessageTransport } from '../fleet/simulated-fleet.ts'
import { type Machine, thisMachine } from '../machine.ts'
import { type MachineLimits, measureMachineLimits } from '../machine-limits.ts'
import { keepForPage } from '../page/main.ts'
import { repeat, type Spreads } from '../spread.ts'
import { printTable } from '../table.ts'
import { measureScale, type ScaleFigures } from './measure.ts'
import { scaleTable } from './rows.ts'
import { pythonSystem, type ScaleSystem, trellisSystem } from './system.ts'

/** Everything that the page is made of. */
export interface ScaleReport {
  readonly machine: Machine
  readonly repeats: number
  readonly limits: Spreads<MachineLimits>
  /** SuperNodes that move small messages whole, as ours do. */
  readonly trellis: readonly Spreads<ScaleFigures>[]
  /** SuperNodes that move each object by a call of its own, as those of Flower do. */
  readonly inParts: readonly Spreads<ScaleFigures>[]
  /** Absent without Python. */
  readonly python: Spreads<ScaleFigures> | undefined
}

/** How much of a fleet is measured, so that one of any size ends. */
const efforts: Readonly<Record<number, { rounds: number; idleSeconds: number; limitSeconds: number }>> = {
  10: { rounds: 10, idleSeconds: 10, limitSeconds: 120 },
  100: { rounds: 10, idleSeconds: 20, limitSeconds: 240 },
  1000: { rounds: 10, idleSeconds: 35, limitSeconds: 420 },
  10000: { rounds: 2, idleSeconds: 35, limitSeconds: 900 },
}
/** All of it takes less than `totalSeconds`: what comes last is left out on a slow machine. */
const quick = { sizes: [10, 100, 1000], rounds: 2, idleSeconds: 5, limitSeconds: 90, totalSeconds: 200 }
const python = { nodes: 100, rounds: 2, quickRounds: 1 }

/**
 * `npm run bench -- scale [NODES…] [--quick] [--minutes N] [--repeats N] [--rounds N] [--idle SECONDS] [--limit SECONDS] [--json FILE] [--page]
 * [--messages whole|in-parts|both]`
 * measures fleets of so many simulated SuperNodes, and Flower 1.29 with 100. With `--quick` the fleets stop after 200 s.
 * With `--minutes` no fleet begins after that time; Python is measured once. `--page` writes `docs/benchmarks.md`.
 */
export async function benchScale(
  directory: string,
  prepare: { ours: () => string; python: () => Promise<string | undefined> },
  args: readonly string[],
): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      page: { type: 'boolean', default: false },
      repeats: { type: 'string' },
      minutes: { type: 'string' },
      rounds: { type: 'string' },
      idle: { type: 'string' },
      limit: { type: 'string' },
      json: { type: 'string' },
      messages: { type: 'string', default: 'both' },
      'no-python': { type: 'boolean', default: false },
      'node-options': { type: 'string', default: '' },
    },
  })
  const repeats = Number(values.repeats ?? (values.quick ? 1 : 3))
  const sizes = positionals.length > 0 ? positionals.map(Number) : values.quick ? quick.sizes : [10, 100, 1000, 10_000]
  const beginsUntil = performance.now() + (values.minutes ? Number(values.minutes) * 60_000 : Number.POSITIVE_INFINITY)
  const endsAt = performance.now() + (values.quick ? quick.totalSeconds * 1000 : Number.POSITIVE_INFINITY)
  const inPartsMax = values.quick ? 100 : 1000
  let measurements = 0
  const measure = async (name: string, system: ScaleSystem, nodes: number): Promise<Spreads<ScaleFigures>> => {
    const usual = values.quick ? quick : effortFor(nodes)
    const times = nodes >= 10_000 || (values.minutes && !system.isObserved) ? 1 : repeats
    return repeat(times, async (index) => {
      process.stderr.write(`${name}: a fleet of ${nodes} simulated SuperNodes, measurement ${index + 1}\n`)
      const folder = join(directory, `scale-${++measurements}`)
      const figures = await measureScale({
        ...{ directory: folder, system, nodes, settleMs: 10_000, pauseMs: 1000, restMs: 20_000 },
        rounds: Number(
          values.rounds ?? (system.isObserved ? usual.rounds : values.quick ? python.quickRounds : python.rounds),
        ),
        idleSeconds: Number(values.idle ?? usual.idleSeconds),
        limitSeconds: Math.min(Number(values.limit ?? usual.limitSeconds), (endsAt - performance.now()) / 1000),
        nodeOptions: values['node-options'],
      })
      if (figures.failure) process.stderr.write(`  failed: ${figures.failure.slice(-2000)}\n`)
      rmSync(folder, { recursive: true, force: true })
      return figures
    })
  }
  process.stderr.write('What this machine needs at least\n')
  const limits = await repeat(repeats, () => measureMachineLimits(directory))
  const bin = prepare.ours()
  let report: ScaleReport = { machine: thisMachine(), repeats, limits, trellis: [], inParts: [], python: undefined }
  /** After each fleet, because a run may be cut off. */
  const keep = async (measured: Partial<ScaleReport>): Promise<void> => {
    report = { ...report, ...measured }
    if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 1)}\n`)
    if (values.page) await keepForPage('scale', withoutStatements(report))
  }
  const isTimeOver = (): boolean => performance.now() > beginsUntil
  const measureOurs = (messages: MessageTransport, nodes: number): Promise<Spreads<ScaleFigures>> =>
    measure(`Trellis, messages ${messages}`, trellisSystem(bin, messages), nodes)
  const { messages } = values
  if (messages !== 'in-parts')
    for (const nodes of sizes)
      if (!isTimeOver()) await keep({ trellis: [...report.trellis, await measureOurs('whole', nodes)] })
  const environment = values['no-python'] ? undefined : await prepare.python()
  if (environment && !isTimeOver())
    await keep({ python: await measure('Flower 1.29', pythonSystem(environment), python.nodes) })
  if (messages !== 'whole')
    for (const nodes of messages === 'in-parts' ? sizes : sizes.filter((nodes) => nodes >= 100 && nodes <= inPartsMax))
      if (!isTimeOver()) await keep({ inParts: [...report.inParts, await measureOurs('in-parts', nodes)] })
  printTable(scaleTable(columnsOf(report)))
}

/** The statements are for those that change the code. */
function withoutStatements({ trellis, inParts, python, ...rest }: ScaleReport): ScaleReport {
  const without = (figures: Spreads<ScaleFigures>): Spreads<ScaleFigures> => ({ ...figures, statements: {} })
  return { ...rest, trellis: trellis.map(without), inParts: inParts.map(without), python: python && without(python) }
}

export function columnsOf({
  trellis,
  inParts,
  python,
}: ScaleReport): { title: string; figures: Spreads<ScaleFigures> }[] {
  return [
    ...trellis.map((figures) => ({ title: `${figures.nodes.median} SuperNodes`, figures })),
    ...inParts.map((figures) => ({ title: `${figures.nodes.median}, Flower's calls`, figures })),
    ...(python ? [{ title: `Flower 1.29, ${python.nodes.median} SuperNodes`, figures: python }] : []),
  ]
}

function effortFor(nodes: number): { rounds: number; idleSeconds: number; limitSeconds: number } {
  const [, effort] = Object.entries(efforts).findLast(([size]) => nodes >= Number(size)) ?? []
  return effort ?? { rounds: 3, idleSeconds: 10, limitSeconds: 120 }
}
