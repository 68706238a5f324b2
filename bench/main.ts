import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { preparePython } from '../scripts/python.ts'
import { benchBadDays } from './bad-days/main.ts'
import { measureLarge } from './large.ts'
import { thisMachine } from './machine.ts'
import { measureMeans } from './mean.ts'
import { ourFlower } from './our-flower.ts'
import { measurePythonFleets } from './python-fleets.ts'
import { pythonFlower } from './python-flower.ts'
import { benchScale, redrawPage } from './scale/main.ts'
import { measureSecureAggregation } from './secagg.ts'
import { measureSimulations } from './simulation.ts'
import { repeat, type Spreads } from './spread.ts'
import {
  printFleets,
  printLarge,
  printMeans,
  printSecureAggregation,
  printSimulations,
  printTls,
  printTraining,
} from './tables.ts'
import { measureTls } from './tls.ts'
import { measureTraining } from './training.ts'
import { benchWaterfall } from './waterfall/main.ts'

/**
 * `npm run bench [-- TABLE] [--repeats N] [--quick] [--json FILE]`: figures of Trellis beside those of Python Flower 1.29, both
 * taken in this run, one after the other, on this machine: read the ratios. Each is the median of three measurements. Loads are
 * bounded in count and time, and stay on the loopback interface. `scale`, `waterfall` and
 * `bad-days` have options of their own; `page` draws the page of `scale` anew.
 */

/** Measures some times, prints, and returns what goes into the JSON. */
type Table = (times: number) => Promise<unknown>

const [only, ...rest] = process.argv.slice(2)
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
  }, printTraining),
  large: table(async () => {
    const python = await python129()
    return measureLarge({ ours: trellis(), theirs: python ? pythonFlower(python) : undefined }, freshFolder())
  }, printLarge),
  mean: table(async () => measureMeans(await python129()), printMeans),
  simulation: table(async () => {
    const python = await python129()
    return measureSimulations({
      directory: freshFolder(),
      ourBin: trellis().bin,
      python129: python,
      writeOurApp: trellis().writeApp,
      writePythonApp: pythonFlower(python ?? '').writeApp,
    })
  }, printSimulations),
  secagg: table(measureSecureAggregation, printSecureAggregation),
  tls: table(() => measureTls(freshFolder()), printTls),
  'python-fleets': table(async () => {
    const { TRELLIS_PYTHON_129, TRELLIS_PYTHON_141 } = await environments()
    return TRELLIS_PYTHON_129 && TRELLIS_PYTHON_141 ? measurePythonFleets(['1.29', '1.41']) : []
  }, printFleets),
}

try {
  if (only === 'scale') await benchScale(directory, { ours: () => trellis().bin, python: python129 }, rest)
  else if (only === 'waterfall') await benchWaterfall(directory, trellis(), rest)
  else if (only === 'bad-days') await benchBadDays(directory, trellis().bin, rest)
  else if (only === 'page') await redrawPage()
  else await measureTables()
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** A table that fails is named, and the others follow. */
async function measureTables(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { repeats: { type: 'string' }, quick: { type: 'boolean', default: false }, json: { type: 'string' } },
  })
  const repeats = Number(values.repeats ?? (values.quick ? 1 : 3))
  const measured: Record<string, unknown> = { machine: thisMachine(), repeats }
  for (const name of positionals.length > 0 ? positionals : Object.keys(tables)) {
    const measure = tables[name]
    if (!measure)
      throw new Error(
        `There is no table '${name}': ${[...Object.keys(tables), 'scale', 'waterfall', 'bad-days', 'page'].join(', ')}`,
      )
    process.stderr.write(`Table '${name}'\n`)
    try {
      measured[name] = await measure(repeats)
    } catch (error) {
      process.exitCode = 1
      process.stderr.write(`Table '${name}' failed: ${(error as Error).stack}\n`)
    }
    if (values.json) writeFileSync(values.json, `${JSON.stringify(measured, null, 1)}\n`)
  }
}

function table<T>(measure: () => T | Promise<T>, print: (figures: Spreads<T>) => void): Table {
  return async (times) => {
    const figures = await repeat(times, measure)
    process.stdout.write('\n')
    print(figures)
    return figures
  }
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
