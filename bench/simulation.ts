import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { prepareEnvironment } from '../scripts/python.ts'
import { freePort } from '../test/harness/free-port.ts'
import { endProcessesWith, eventually, processesWith, start } from '../test/harness/program.ts'
import { cpuSecondsOf } from './processes.ts'

/** Ten virtual nodes that train a small model: what the user of `flwr run` waits for. */
const [nodes, floats] = [10, 1000]
/** Few rounds show what a start costs, many what a message costs. */
const roundCounts = [3, 20]

export interface SimulationFigures {
  readonly rounds: number
  readonly ours: SimulationCost
  /** The Python app on our programs, in an environment of Flower 1.29; absent without one. */
  readonly oursWithPythonApp: SimulationCost | undefined
  /** Flower 1.29 with Ray; absent where that cannot be installed. */
  readonly theirs: SimulationCost | undefined
}

export interface SimulationCost {
  /** Of the whole `flwr run`. */
  readonly seconds: number
  /** Processor time of all programs together. */
  readonly cpuSeconds: number
}

interface Simulator {
  readonly bin: string
  readonly environment: Readonly<Record<string, string>>
  readonly app: string
}

/** The functions write the app of a side and answer its folder. */
export async function measureSimulations(options: SimulationOptions): Promise<SimulationFigures[]> {
  const figures: SimulationFigures[] = []
  for (const rounds of roundCounts) figures.push(await measureRounds(rounds, options))
  return figures
}

interface SimulationOptions {
  readonly directory: string
  readonly ourBin: string
  readonly python129: string | undefined
  readonly writeOurApp: (directory: string, options: { floats: number; rounds: number }) => string
  readonly writePythonApp: (directory: string, options: { floats: number; rounds: number }) => string
}

async function measureRounds(rounds: number, options: SimulationOptions): Promise<SimulationFigures> {
  const { directory, ourBin, python129 } = options
  const fresh = (name: string): string => mkdtempSync(join(directory, `simulation-${rounds}-${name}-`))
  const typescript = fresh('typescript')
  const withPython = fresh('python')
  const ray = await prepareEnvironment('Ray', { folder: 'python-1.29-ray', packages: ['flwr[simulation]==1.29.0'] })
  return {
    rounds,
    ours: await costOf(typescript, {
      bin: ourBin,
      environment: {},
      app: options.writeOurApp(typescript, { floats, rounds }),
    }),
    oursWithPythonApp:
      python129 === undefined
        ? undefined
        : await costOf(withPython, {
            bin: ourBin,
            environment: { PATH: `${join(python129, 'bin')}:${process.env.PATH}` },
            app: options.writePythonApp(withPython, { floats, rounds }),
          }),
    theirs:
      ray === undefined
        ? undefined
        : await tryRay(() =>
            measureRay(fresh('ray'), ray, (folder) => options.writePythonApp(folder, { floats, rounds })),
          ),
  }
}

/** Ray gives up if its own programs do not start in time. Returns `undefined` if it does so each time. */
async function tryRay(measure: () => Promise<SimulationCost>): Promise<SimulationCost | undefined> {
  for (let tries = 1; tries <= rayTriesMax; tries++) {
    try {
      return await measure()
    } catch (error) {
      process.stderr.write(`Ray: ${(error as Error).message.slice(-1000)}\n`)
    }
  }
  return undefined
}

const rayTriesMax = 3

async function measureRay(
  folder: string,
  environment: string,
  writeApp: (directory: string) => string,
): Promise<SimulationCost> {
  const bin = join(environment, 'bin')
  return costOf(folder, {
    bin,
    environment: { PATH: `${bin}:${process.env.PATH}`, FLWR_LOCAL_CONTROL_API_PORT: String(await freePort()) },
    app: writeApp(folder),
  })
}

/** What a whole `flwr run` costs; an earlier one has started the local SuperLink. */
async function costOf(folder: string, { bin, environment, app }: Simulator): Promise<SimulationCost> {
  const home = join(folder, 'home')
  mkdirSync(home)
  writeFileSync(
    join(home, 'config.toml'),
    `[superlink.bench]\naddress = ":local:"\noptions.num-supernodes = ${nodes}\noptions.backend.client-resources.num-cpus = 1\n`,
  )
  const env = { FLWR_HOME: home, FLWR_TELEMETRY_ENABLED: '0', FLWR_DISABLE_UPDATE_CHECK: '1', ...environment }
  const once = async (): Promise<SimulationCost> => {
    using cpu = new ProcessorTime(home)
    const startedAt = performance.now()
    await using run = start('flwr', ['run', app, 'bench', '--stream'], { bin, cwd: folder, env })
    await run.end(900_000)
    if (!/Strategy execution finished/.test(run.said)) throw new Error(`The run did not finish:\n${run.said}`)
    return { seconds: (performance.now() - startedAt) / 1000, cpuSeconds: cpu.seconds() }
  }
  try {
    await once()
    return await once()
  } finally {
    endProcessesWith(home, 'SIGTERM')
    await eventually('the end of the local SuperLink', () => processesWith(home).length === 0).catch(() =>
      endProcessesWith(home),
    )
  }
}

/** How often the processes are looked at. What one uses after the last look is missed. */
const lookEveryMs = 50

/** The processor time that all processes of a home folder have used since this was made. */
class ProcessorTime implements Disposable {
  readonly #home: string
  readonly #atStart: ReadonlyMap<number, number>
  readonly #last = new Map<number, number>()
  readonly #timer: NodeJS.Timeout

  constructor(home: string) {
    this.#home = home
    this.#look()
    this.#atStart = new Map(this.#last)
    this.#timer = setInterval(() => this.#look(), lookEveryMs)
  }

  seconds(): number {
    this.#look()
    return [...this.#last].reduce((sum, [pid, seconds]) => sum + seconds - (this.#atStart.get(pid) ?? 0), 0)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const { pid } of processesWith(`FLWR_HOME=${this.#home}`)) {
      try {
        this.#last.set(pid, cpuSecondsOf(pid))
      } catch {
        // It has ended in the meantime.
      }
    }
  }
}
