import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { preparePython } from '../scripts/python.ts'
import { benchBadDays } from './bad-days/main.ts'
import { benchEngines } from './engines/main.ts'
import { measureHeartbeats } from './heartbeats/measure.ts'
import { measureLarge } from './large.ts'
import { thisMachine } from './machine.ts'
import { measureMeans } from './mean.ts'
import { ourFlower } from './our-flower.ts'
import { drawPage, keepForPage } from './page/main.ts'
import { runPart } from './part.ts'
import { measurePythonFleets } from './python-fleets.ts'
import { pythonFlower } from './python-flower.ts'
import { benchScale } from './scale/main.ts'
import { measureSecureAggregation } from './secagg.ts'
import { measureSimulations } from './simulation.ts'
import { repeat } from './spread.ts'
import { measureStart } from './start.ts'
import { printTable } from './table.ts'
import { type MeasuredTables, tablesOf } from './tables.ts'
import { measureTls } from './tls.ts'
import { measureTraining } from './training.ts'
import { benchWaterfall } from './waterfall/main.ts'

/**
 * `npm run bench [-- TABLE…] [--repeats N] [--quick] [--json FILE] [--page]`: figures of Trellis beside those of Python Flower
 * 1.29, both taken in this run, one after the other, on this machine: read the ratios. Each is the median of three, but large
 * models and secure aggregation are measured once. `scale`, `bad-days`, `engines` and `waterfall` have options of their own, and `all`
 * measures everything for `docs/benchmarks.md`. Loads are bounded in count and time, and stay on the loopback interface. Each
 * table has a time limit: on a machine that is slow or busy it is measured fewer times, or left out, and the last lines say so.
 */

/** Measures some times, and returns what goes into the JSON. */
type Table = (times: number, endsBefore: number) => Promise<unknown>

const minuteMs = 60_000
/** After a share of its time limit no table begins another measurement that would end later. */
const limitMinutes: Readonly<Record<string, number>> = {
  ...{
    training: 8,
    large: 16,
    mean: 4,
    simulation: 12,
    start: 3,
    heartbeats: 5,
    secagg: 8,
    tls: 15,
    'python-fleets': 8,
  },
  ...{ scale: 60, 'bad-days': 30, engines: 8, waterfall: 15, tables: 60 },
}
const measuringShare = 0.5

const directory = mkdtempSync(join(tmpdir(), 'trellis-bench-'))
let folders = 0
const trellis = lazily(() => ourFlower(directory))
const environments = lazily(async () => {
  const found = await preparePython()
  Object.assign(process.env, found)
  return found
})
const python129 = async (): Promise<string | undefined> => (await environments()).TRELLIS_PYTHON_129

const tables: Readonly<Record<string, Table>> = {
  training: table(async () => {
    const python = await python129()
    return {
      ours: await measureTraining(trellis(), 'Trellis', freshFolder()),
      theirs: python ? await measureTraining(pythonFlower(python), 'Flower 1.29', freshFolder()) : undefined,
    }
  }),
  // Once where others are measured three times: it takes minutes, and its figures are totals of many objects.
  large: (times, endsBefore) =>
    repeat(Math.ceil(times / 3), async () => {
      const python = await python129()
      const flowers = { ours: trellis(), theirs: python ? pythonFlower(python) : undefined }
      return measureLarge(flowers, freshFolder(), endsBefore)
    }),
  mean: table(async () => measureMeans(await python129())),
  simulation: table(async () => {
    const python = await python129()
    return measureSimulations({
      directory: freshFolder(),
      ourBin: trellis().bin,
      python129: python,
      writeOurApp: trellis().writeApp,
      writePythonApp: pythonFlower(python ?? '').writeApp,
    })
  }),
  start: table(async () => {
    const python = await python129()
    return measureStart(trellis().bin, python ? join(python, 'bin') : undefined)
  }),
  heartbeats: table(async () => {
    const python = await python129()
    return measureHeartbeats({ ours: trellis(), theirs: python ? pythonFlower(python) : undefined }, freshFolder())
  }),
  // It computes for minutes, and processor times hardly differ from one measurement to the next.
  secagg: (times) => repeat(Math.ceil(times / 3), measureSecureAggregation),
  tls: table(() => measureTls(freshFolder())),
  'python-fleets': table(async () => {
    const { TRELLIS_PYTHON_129, TRELLIS_PYTHON_141 } = await environments()
    return TRELLIS_PYTHON_129 && TRELLIS_PYTHON_141 ? measurePythonFleets(['1.29', '1.41']) : []
  }),
}

const commands: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  scale: (args) => benchScale(directory, { ours: () => trellis().bin, python: python129 }, args),
  'bad-days': (args) => benchBadDays(directory, trellis().bin, args),
  engines: (args) => benchEngines(directory, trellis, args),
  waterfall: (args) => benchWaterfall(directory, trellis(), args),
  tables: benchTables,
  page: drawPage,
  all: benchAll,
}

for (const name of ['SIGINT', 'SIGTERM'])
  process.once(name, () => {
    rmSync(directory, { recursive: true, force: true })
    process.exit(1)
  })
try {
  const [first = '', ...rest] = process.argv.slice(2)
  const command = commands[first]
  await (command ? command(rest) : benchTables(process.argv.slice(2)))
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** Every figure of the page. What fails or runs out of time is named, and the rest follows. */
async function benchAll(args: readonly string[]): Promise<void> {
  const isQuick = args.includes('--quick')
  const parts: readonly (readonly [string, ...string[]])[] = isQuick
    ? [['scale', '--quick'], ['bad-days', '60'], ['waterfall']]
    : [['scale'], ['bad-days'], ['engines'], ['waterfall'], ['tables']]
  const leftOut: string[] = []
  for (const [name, ...options] of parts) {
    process.stderr.write(`\n${name}\n`)
    const reason = await runPart([name, ...options, '--page'], limitOf(name))
    if (reason !== undefined) leftOut.push(`${name}: ${reason}`)
  }
  report(leftOut, parts.length)
}

function limitOf(name: string): number {
  return (limitMinutes[name] ?? 10) * minuteMs
}

/** The last lines of the output. The status is that of a failure only if there is no figure at all. */
function report(leftOut: readonly string[], all: number): void {
  if (leftOut.length === all) process.exitCode = 1
  for (const line of leftOut) process.stdout.write(`Left out: ${line}.\n`)
  if (leftOut.length === 0) process.stdout.write('Everything was measured.\n')
}

async function benchTables(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      repeats: { type: 'string' },
      quick: { type: 'boolean' },
      json: { type: 'string' },
      page: { type: 'boolean' },
    },
  })
  const names = positionals.length > 0 ? positionals : Object.keys(tables)
  const unknown = names.find((name) => !tables[name])
  if (unknown)
    throw new Error(`There is no '${unknown}': ${[...Object.keys(tables), ...Object.keys(commands)].join(', ')}`)
  const repeats = Number(values.repeats ?? (values.quick ? 1 : 3))
  const measured: Record<string, unknown> = {}
  const [only = ''] = names
  if (names.length === 1) measured[only] = await measureTable(only, repeats)
  else {
    const leftOut: string[] = []
    for (const name of names) {
      const json = join(directory, `${name}.json`)
      const reason = await runPart(['tables', name, '--repeats', String(repeats), '--json', json], limitOf(name))
      if (reason === undefined) Object.assign(measured, JSON.parse(readFileSync(json, 'utf8')))
      else leftOut.push(`${name}: ${reason}`)
    }
    process.stdout.write('\n')
    report(leftOut, names.length)
  }
  const kept = { ...measured, machine: thisMachine(), repeats } satisfies MeasuredTables
  if (values.json) writeFileSync(values.json, `${JSON.stringify(kept, null, 1)}\n`)
  if (values.page) await keepForPage('tables', kept)
}

/** Measures a table and prints it. */
async function measureTable(name: string, times: number): Promise<unknown> {
  process.stderr.write(`Table '${name}'\n`)
  const endsBefore = performance.now() + measuringShare * limitOf(name)
  const figures = await tables[name]?.(times, endsBefore)
  for (const rows of tablesOf({ [name]: figures })) {
    process.stdout.write('\n')
    printTable(rows)
  }
  return figures
}

function table<T>(measure: () => T | Promise<T>): Table {
  return (times, endsBefore) => repeat(times, measure, endsBefore)
}

function freshFolder(): string {
  const folder = join(directory, `measurement-${++folders}`)
  mkdirSync(folder)
  return folder
}

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
