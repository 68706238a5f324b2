import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { errorText } from '../../src/base/errors.ts'
import { type Flower, withDeployment } from '../deployment.ts'
import { thisMachine } from '../machine.ts'
import { keepForPage } from '../page/main.ts'
import { measureScale } from '../scale/measure.ts'
import { trellisSystem } from '../scale/system.ts'
import { printTable } from '../table.ts'
import { type EngineFigures, type EnginesReport, enginesTable } from './rows.ts'
import { Engines, type Setup, setups, startStandby } from './setups.ts'

/** Two SuperNodes train a model of 20 MB, which is large enough for files and buckets. */
const large = { floats: 5_000_000, rounds: 3 }
const fleetLimitSeconds = 90

/**
 * `npm run bench -- engines [NODES…] [--minutes N] [--json FILE] [--page]`: the same fleets and the same large model with each
 * engine. Nothing begins after so many minutes (4 by default), so it ends within about five.
 */
export async function benchEngines(directory: string, trellis: () => Flower, args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { json: { type: 'string' }, page: { type: 'boolean' }, minutes: { type: 'string', default: '4' } },
  })
  const sizes = positionals.length > 0 ? positionals.map(Number) : [100, 1000]
  const beginsUntil = performance.now() + Number(values.minutes) * 60_000
  const isTimeOver = (): boolean => performance.now() > beginsUntil
  const flower = trellis()
  await using engines = await Engines.start(directory)
  const figures: EngineFigures[] = setups.map(({ title }) => ({ title, fleets: [], secondsPerLargeRound: undefined }))
  const each = async (measure: (setup: Setup, folder: string) => Promise<Partial<EngineFigures>>): Promise<void> => {
    for (const [index, setup] of setups.entries()) {
      if (isTimeOver()) return
      process.stderr.write(`${setup.title}\n`)
      const folder = join(directory, 'engine')
      mkdirSync(folder)
      // What fails is a dash in the table, and the rest follows.
      const measured = await measure(setup, folder).catch((error: unknown) => {
        process.stderr.write(`  failed: ${errorText(error).slice(-2000)}\n`)
        return {}
      })
      rmSync(folder, { recursive: true, force: true })
      figures[index] = { ...(figures[index] as EngineFigures), ...measured }
    }
  }
  const fleetsOf = (nodes: number) =>
    each(async (setup, folder) => {
      const fleet = await measureFleet({ engines, flower, setup, nodes, folder })
      const known = figures.find(({ title }) => title === setup.title)?.fleets ?? []
      return { fleets: [...known, fleet] }
    })
  const [first, ...others] = sizes
  if (first !== undefined) await fleetsOf(first)
  await each(async (setup, folder) =>
    // Standbys do nothing, so the figures of one SuperLink are theirs.
    setup.superlinks > 1 ? {} : { secondsPerLargeRound: await measureLarge({ engines, flower, setup, folder }) },
  )
  for (const nodes of others) await fleetsOf(nodes)
  const report: EnginesReport = { machine: thisMachine(), figures }
  if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 1)}\n`)
  if (values.page) await keepForPage('engines', report)
  printTable(enginesTable(report))
}

interface Measured {
  readonly engines: Engines
  readonly flower: Flower
  readonly setup: Setup
  readonly folder: string
}

async function measureFleet({
  engines,
  flower: { bin },
  setup,
  nodes,
  folder,
}: Measured & { readonly nodes: number }): Promise<EngineFigures['fleets'][number]> {
  await using standbys = new AsyncDisposableStack()
  const options = await engines.optionsOf(setup, folder)
  const system = trellisSystem(bin, 'whole', { state: options, environment: engines.environment })
  const { roundSeconds, latencyMs, callsPerNodeAndRound, cpuMsPerNodeAndRound, failure } = await measureScale({
    ...{ directory: join(folder, 'fleet'), nodes, rounds: 5, idleSeconds: 1, settleMs: 500, pauseMs: 200, restMs: 200 },
    limitSeconds: fleetLimitSeconds,
    system: {
      ...system,
      async startSuperlink(...about) {
        const started = await system.startSuperlink(...about)
        for (let count = 1; count < setup.superlinks; count++) standbys.use(await startStandby(bin, options))
        return started
      },
    },
  })
  if (failure) process.stderr.write(`  failed: ${failure.slice(-2000)}\n`)
  const callsPerSecond = (callsPerNodeAndRound * nodes) / roundSeconds.median
  return { nodes, secondsPerRound: roundSeconds.median, latencyMs: latencyMs.p50, callsPerSecond, cpuMsPerNodeAndRound }
}

async function measureLarge({ engines, flower, setup, folder }: Measured): Promise<number> {
  const options = await engines.optionsOf(setup, folder)
  const withEngine: Flower = {
    ...flower,
    environment: { ...flower.environment, ...engines.environment },
    superlinkArguments: async (ca) => [...(await flower.superlinkArguments(ca)), ...options],
  }
  const seconds = await withDeployment(withEngine, join(folder, 'large'), 2, (deployment) => deployment.train(large))
  return seconds / large.rounds
}
