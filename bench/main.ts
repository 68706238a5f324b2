import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { preparePython } from '../scripts/python.ts'
import { type Flower, residentMegabytes, withDeployment } from './deployment.ts'
import { countFleetCalls } from './fleet-load.ts'
import { gigabytesPerSecond, type MeanFigures, measureMeans } from './mean.ts'
import { ourFlower } from './our-flower.ts'
import { type FleetFigures, measurePythonFleets } from './python-fleets.ts'
import { pythonFlower } from './python-flower.ts'
import { benchScale } from './scale-main.ts'
import { measureSimulations, type SimulationFigures } from './simulation.ts'
import { printTable } from './table.ts'
import { type ModeFigures, measureTls, type TlsFigures } from './tls.ts'

/**
 * Figures of Trellis beside those of Python Flower 1.29, both taken in this run, one after the other, on this machine:
 * read the ratios. Loads are bounded in count and time, and stay on the loopback interface.
 */

const small = { floats: 1000, rounds: 6 }
const large = { floats: 25_000_000, rounds: 2 }

interface Figures {
  readonly secondsPerSmallRound: number
  readonly secondsForLargeRun: number
  readonly fleetCallsPerSecond: number
  readonly idleMegabytes: number
}

// `npm run bench -- python-fleets`, `tls`, `scale`, `mean` and `simulation` are one table alone.
const [only, ...rest] = process.argv.slice(2)
const environments = only === 'scale' ? {} : await preparePython()
const python = environments.TRELLIS_PYTHON_129
Object.assign(process.env, environments)
const directory = mkdtempSync(join(tmpdir(), 'trellis-bench-'))
try {
  if (only === undefined) await measureAll()
  if (only === 'scale') await benchScale(directory, ourFlower(directory).bin, rest)
  if (only === 'mean') printMeans(measureMeans(python))
  if (only === 'simulation') await benchSimulations()
  if (only === undefined || only === 'tls') printTls(await measureTls(directory))
  if (
    (only === undefined || only === 'python-fleets') &&
    environments.TRELLIS_PYTHON_129 &&
    environments.TRELLIS_PYTHON_141
  )
    printFleets(await measurePythonFleets(['1.29', '1.41']))
} finally {
  rmSync(directory, { recursive: true, force: true })
}

async function measureAll(): Promise<void> {
  const trellis = ourFlower(directory)
  const ours = await measure(trellis, 'Trellis')
  const flower = pythonFlower(python ?? '')
  const theirs = python === undefined ? undefined : await measure(flower, 'Flower 1.29')
  print(ours, theirs)
  printMeans(measureMeans(python))
  await benchSimulations()
}

async function benchSimulations(): Promise<void> {
  process.stderr.write('Simulations on this machine\n')
  const trellis = ourFlower(directory)
  const figures = await measureSimulations({
    directory,
    ourBin: trellis.bin,
    python129: python,
    writeOurApp: trellis.writeApp,
    writePythonApp: pythonFlower(python ?? '').writeApp,
  })
  for (const each of figures) printSimulations(each)
}

async function measure(flower: Flower, name: string): Promise<Figures> {
  const say = (text: string): void => void process.stderr.write(`${name}: ${text}\n`)
  const fresh = (what: string): string => join(directory, `${name.replaceAll(' ', '-')}-${what}`)
  say('idle memory, and small Fleet calls')
  const { idleMegabytes, fleetCallsPerSecond } = await withDeployment(
    flower,
    fresh('calls'),
    0,
    async (deployment) => ({
      idleMegabytes: residentMegabytes(deployment.superlinkPid),
      fleetCallsPerSecond: await countFleetCalls(deployment),
    }),
  )
  say(`${small.rounds} rounds with 4 KB`)
  const smallSeconds = await withDeployment(flower, fresh('small'), 2, (deployment) => deployment.train(small))
  say(`${large.rounds} rounds with 100 MB`)
  const largeSeconds = await withDeployment(flower, fresh('large'), 2, (deployment) => deployment.train(large))
  return {
    secondsPerSmallRound: smallSeconds / small.rounds,
    secondsForLargeRun: largeSeconds,
    fleetCallsPerSecond,
    idleMegabytes,
  }
}

function print(ours: Figures, theirs: Figures | undefined): void {
  const row = (what: string, key: keyof Figures, digits: number, better: 'less' | 'more'): string[] => {
    const [mine, other] = [ours[key], theirs?.[key]]
    const ratio = other === undefined ? undefined : better === 'less' ? other / mine : mine / other
    return [
      what,
      mine.toFixed(digits),
      other?.toFixed(digits) ?? 'no Python',
      ratio === undefined ? '' : `${ratio.toFixed(ratio < 10 ? 2 : 1)} times ${better === 'less' ? 'less' : 'as many'}`,
    ]
  }
  const rows = [
    ['', 'Trellis (mutual TLS)', 'Flower 1.29 (TLS, keys)', 'ratio'],
    row('s a round, 2 nodes, 4 KB model, beyond the app', 'secondsPerSmallRound', 3, 'less'),
    row('small Fleet calls a second, SQLite file', 'fleetCallsPerSecond', 0, 'more'),
    row('s for 2 rounds, 2 nodes, 100 MB model', 'secondsForLargeRun', 2, 'less'),
    row('MB resident, idle SuperLink', 'idleMegabytes', 0, 'less'),
  ]
  printTable(rows)
}

function printSimulations({ rounds, ours, oursWithPythonApp, theirs }: SimulationFigures): void {
  const row = (what: string, seconds: number | undefined): string[] => [
    what,
    seconds?.toFixed(2) ?? '',
    theirs?.toFixed(2) ?? 'no Ray',
    seconds === undefined || theirs === undefined ? '' : `${(theirs / seconds).toFixed(2)} times less`,
  ]
  process.stdout.write('\n')
  printTable([
    [`s for flwr run, simulated: 10 virtual nodes, ${rounds} rounds`, 'Trellis', 'Flower 1.29 (Ray)', 'ratio'],
    row('a TypeScript app, beside the same in Python', ours),
    ...(oursWithPythonApp === undefined ? [] : [row('the Python app of Flower on our programs', oursWithPythonApp)]),
  ])
}

function printMeans({ ours, numpy, copies }: MeanFigures): void {
  const row = (what: string, seconds: number | undefined): string[] => [
    what,
    seconds === undefined ? 'no Python' : gigabytesPerSecond(seconds).toFixed(2),
    seconds === undefined ? '' : `${(seconds / ours).toFixed(2)} times the time`,
    '',
  ]
  process.stdout.write('\n')
  printTable([
    ['weighted mean of 4 models of 100 MB of float32', 'GB a second', '', ''],
    row('WeightedSum of the SDK', ours),
    row("numpy, in Flower's steps", numpy),
    row('copying the models', copies),
  ])
}

function printFleets(figures: readonly FleetFigures[]): void {
  const row = ({ release, theirs, atOurs, ours }: FleetFigures): string[] => [
    `Flower ${release}`,
    theirs.toFixed(1),
    `${atOurs.toFixed(1)} (${(theirs / atOurs).toFixed(1)} times less)`,
    `${ours.toFixed(1)} (${(theirs / ours).toFixed(1)} times less)`,
  ]
  process.stdout.write('\n')
  printTable([
    ['s for 2 rounds of a Python app, 2 nodes', 'all Flower', "Flower's SuperNodes at our SuperLink", 'all ours'],
    ...figures.map(row),
  ])
}

function printTls({ crl, certificates, keys, reload }: TlsFigures): void {
  const row = (what: string, figure: keyof ModeFigures, digits: number, better: 'less' | 'more'): string[] => {
    const [mine, other] = [certificates[figure], keys[figure]]
    const ratio = better === 'less' ? other / mine : mine / other
    return [what, mine.toFixed(digits), other.toFixed(digits), `${ratio.toFixed(2)} times ${better}`]
  }
  process.stdout.write('\n')
  printTable([
    ['our SuperLink', 'mutual TLS', 'registered keys', 'ratio'],
    row('handshakes a second, peer judged', 'handshakesPerSecond', 0, 'more'),
    row('small Fleet calls a second', 'callsPerSecond', 0, 'more'),
    row('s until 1,000 nodes that come back at once are online', 'stormSeconds', 1, 'less'),
  ])
  process.stdout.write('\n')
  printTable([
    ['revocation list of 100,000 entries', '', '', ''],
    ['ms to load', crl.loadMs.toFixed(0), '', ''],
    ['microseconds a lookup', crl.lookupMicroseconds.toFixed(2), '', ''],
    ['slowest call while it is loaded anew, 1,000 connections, ms', reload.crlStallMs.toFixed(0), '', ''],
    ['the same while a policy is loaded anew', reload.policyStallMs.toFixed(0), '', ''],
    ['the same while nothing happens', reload.calmMs.toFixed(0), '', ''],
  ])
}
