import { readFileSync } from 'node:fs'
import { countingClient, countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { run, type TestProgram } from '../harness/program.ts'
import { randomFrom } from '../harness/random.ts'
import { look, type Sample } from './gauges.ts'
import { describeSoak, type SoakReport } from './report.ts'

export interface SoakOptions {
  readonly seconds: number
  readonly secondsBetweenRounds: number
  readonly secondsBetweenRuns: number
  readonly secondsBetweenRenewals: number
  /** How long a SuperNode that comes and goes stays at most, and how long it is away. */
  readonly guestSecondsMax: number
  readonly awaySecondsMax: number
  readonly seed: number
  readonly say: (line: string) => void
}

const steadyNodes = ['steady-1', 'steady-2'] as const
const keptRuns = 20
const runsAtOnceMax = 4

/**
 * A small federation as it lives for a long time: two SuperNodes stay, a third comes and goes, by SIGTERM and by SIGKILL;
 * all certificates are renewed again and again; one run trains all along, with pauses between its rounds, and others start
 * again and again. Everything must complete, and nothing that a program holds may grow after the first tenth.
 */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  using folder = temporaryDirectory()
  // Temporary files of the programs are measured as well.
  process.env.TMPDIR = folder.path
  await using deployment = await Deployment.create({
    mutualTls: true,
    superlinkArguments: ['--keep-runs', String(keptRuns)],
  })
  const names = { app: 'testapp', longApp: 'longapp', database: deployment.directory.file('state.db') }
  const short = { server: countingServer, client: countingClient, config: 'nodes = 2\nrounds = 1' }
  const long = { server: pacedServer, client: countingClient, config: `pause-s = ${options.secondsBetweenRounds}` }
  deployment.writeApp({ name: names.app, ...short })
  deployment.writeApp({ name: names.longApp, ...long })
  const [steady] = await Promise.all(steadyNodes.map((name) => deployment.startSupernode(name)))
  const life = new Life(deployment, options)
  const watched = {
    ...{ superlink: deployment.superlink.pid, supernode: (steady as TestProgram).pid },
    ...{ superexec: ownSuperexec(deployment), database: names.database, folder: folder.path },
  }
  // It sends to the SuperNodes that are there at its start, which are those that stay.
  const stopTraining = await life.train(names.longApp)
  const samples: Sample[] = []
  const sampling = life.every(Math.max(1, options.seconds / 200), async () => {
    samples.push({ atSeconds: life.seconds, values: look(watched) })
  })
  await Promise.all([life.startRuns(names.app), life.renewCertificates(), life.letGuestsComeAndGo(), sampling])
  await stopTraining()
  await life.checkEnd(names.database)
  return describeSoak({ ...life.counts, seconds: options.seconds }, samples, life.faults)
}

function ownSuperexec(deployment: Deployment): number {
  const parentOf = (pid: number): number =>
    Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  const own = deployment.children('flower-superexec').find((pid) => parentOf(pid) === deployment.superlink.pid)
  if (own === undefined) throw new Error('The SuperLink has no SuperExec')
  return own
}

class Life {
  readonly counts = {
    runsCompleted: 0,
    runsFailed: 0,
    rounds: 0,
    nodesStarted: 0,
    nodesKilled: 0,
    nodesEndedLate: 0,
    certificatesRenewed: 0,
  }
  readonly faults: string[] = []
  readonly #deployment: Deployment
  readonly #options: SoakOptions
  readonly #random: (below: number) => number
  readonly #startedAt = performance.now()

  constructor(deployment: Deployment, options: SoakOptions) {
    this.#deployment = deployment
    this.#options = options
    this.#random = randomFrom(options.seed)
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000
  }

  get #isOver(): boolean {
    return this.seconds >= this.#options.seconds
  }

  /** Does the work at these intervals until the end. */
  async every(seconds: number, work: () => Promise<void>): Promise<void> {
    for (let next = this.seconds; !this.#isOver; next += seconds) {
      await pause(Math.min(next, this.#options.seconds) - this.seconds)
      if (!this.#isOver) await work()
    }
  }

  /** Starts the run that trains all along, and waits for its first round. What it returns stops the run. */
  async train(app: string): Promise<() => Promise<void>> {
    const started = await this.#deployment.flwr('run', app, '--format', 'json')
    const runId = JSON.parse(started.stdout)['run-id']
    const log = this.#deployment.start('flwr', ['log', runId, '--stream'])
    await log.line(/round 1 has ended/)
    return async () => {
      const { status, said } = await this.#deployment.flwr('stop', runId)
      if (status !== 0)
        this.#fault(`The run that trained all along cannot be stopped: ${said}\n${log.said.slice(-2000)}`)
      await log.end()
      this.counts.rounds = log.said.match(/round \d+ has ended/g)?.length ?? 0
    }
  }

  async startRuns(app: string): Promise<void> {
    const active = new Set<Promise<void>>()
    await this.every(this.#options.secondsBetweenRuns, async () => {
      if (active.size >= runsAtOnceMax) await Promise.race(active)
      const one = this.#runOnce(app).finally(() => active.delete(one))
      active.add(one)
    })
    await Promise.all(active)
  }

  async #runOnce(app: string): Promise<void> {
    const { status, said } = await this.#deployment.flwr('run', app, '--stream')
    if (status === 0 && /weights: 1 11/.test(said)) this.counts.runsCompleted += 1
    else {
      this.counts.runsFailed += 1
      this.#fault(`A run ended with status ${status}: ${said.slice(-2000)}`)
    }
  }

  async renewCertificates(): Promise<void> {
    const { ca } = this.#deployment
    await this.every(this.#options.secondsBetweenRenewals, async () => {
      await ca.server()
      for (const name of [...steadyNodes, 'cli']) await ca.issue(name)
      this.counts.certificatesRenewed += 1
      this.#options.say(`${Math.round(this.seconds)} s: ${JSON.stringify(this.counts)}`)
    })
  }

  async letGuestsComeAndGo(): Promise<void> {
    while (!this.#isOver) {
      await using guest = await this.#deployment.startSupernode('guest')
      this.counts.nodesStarted += 1
      await this.#pauseUpTo(this.#options.guestSecondsMax)
      const signal = this.#random(2) === 0 ? 'SIGKILL' : 'SIGTERM'
      guest.kill(signal)
      const end = await guest.end()
      if (signal === 'SIGKILL') this.counts.nodesKilled += 1
      // A machine that is too busy for its apps, or for the end of the program within five seconds, is no fault of ours.
      else if (end !== 0) this.counts.nodesEndedLate += 1
      await this.#pauseUpTo(this.#options.awaySecondsMax)
    }
  }

  #pauseUpTo(seconds: number): Promise<void> {
    return pause(Math.min(this.#random(seconds * 1000) / 1000, this.#options.seconds - this.seconds))
  }

  /** What must be so after all of it. */
  async checkEnd(database: string): Promise<void> {
    const { stdout, said } = await this.#deployment.flwr('supernode', 'ls', '--format', 'json')
    const online = (JSON.parse(stdout).nodes as { status: string }[]).filter(({ status }) => status === 'online')
    if (online.length < steadyNodes.length) this.#fault(`SuperNodes are gone: ${said}`)
    const checked = await run('flower-superlink', ['check', '--database', database])
    if (checked.status !== 0) this.#fault(`The state has faults: ${checked.said}`)
    if (this.counts.runsCompleted === 0) this.#fault('No run has completed')
    const problems = this.#deployment.superlink.said.split('\n').filter((line) => /\berror\b/i.test(line))
    for (const line of problems.slice(0, 10)) this.#fault(`The SuperLink said: ${line}`)
  }

  #fault(sentence: string): void {
    this.faults.push(sentence)
    this.#options.say(`FAULT: ${sentence}`)
  }
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, seconds * 1000)))
}

/** Trains with the same SuperNodes for ever. A round in which no SuperNode has trained, on a busy machine, is repeated. */
const pacedServer = `
import { ArrayRecord, log, Message, NdArray, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = await grid.getNodeIds()
  let arrays = new ArrayRecord({ w: NdArray.from(new Float32Array(100_000)) })
  for (let round = 1; ; ) {
    const content = new RecordDict({ arrays })
    const messages = nodes.map((dstNodeId) => Message.create({ content, messageType: 'train', dstNodeId }))
    const good = (await grid.sendAndReceive(messages)).find((reply) => !reply.hasError())
    if (good) {
      arrays = good.content.arrays('arrays')
      if (arrays.get('w').values().some((value) => value !== round)) throw new Error('The model is damaged')
      log.info(\`round \${round} has ended\`)
      round++
    }
    await new Promise((resolve) => setTimeout(resolve, Number(context.runConfig['pause-s']) * 1000))
  }
})
`
