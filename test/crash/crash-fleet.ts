import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Deployment } from '../harness/deployment.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { eventually, killIfAlive, type TestProgram } from '../harness/program.ts'
import type { Kill } from './plan.ts'
import type { Superlinks, SuperlinksOptions } from './superlinks.ts'

const hook = pathToFileURL(join(import.meta.dirname, 'fault-points.mjs')).href
const nodeNames = ['node-1', 'node-2'] as const

/** SuperLinks and two SuperNodes that are started again when they are killed. */
export class CrashFleet implements AsyncDisposable {
  readonly superlinks: Superlinks
  readonly faults: string[] = []
  readonly #faultFolder: string
  readonly #args: readonly string[]
  readonly #nodes: TestProgram[] = []
  readonly #nodeIds: string[] = []
  readonly #stack: AsyncDisposableStack

  private constructor(
    superlinks: Superlinks,
    faultFolder: string,
    args: readonly string[],
    stack: AsyncDisposableStack,
  ) {
    this.superlinks = superlinks
    this.#faultFolder = faultFolder
    this.#args = args
    this.#stack = stack
  }

  /** `python`: the environment of Python apps. */
  static async start(
    python: string | undefined,
    startSuperlinks: (options: SuperlinksOptions) => Promise<Superlinks>,
  ): Promise<CrashFleet> {
    await using stack = new AsyncDisposableStack()
    const faultFolder = stack.use(temporaryDirectory()).path
    mkdirSync(faultFolder, { recursive: true })
    const args = python === undefined ? [] : ['--python', join(python, 'bin', 'python')]
    const environment = { NODE_OPTIONS: `--import=${hook}`, TRELLIS_FAULT_FOLDER: faultFolder }
    const superlinks = stack.use(await startSuperlinks({ environment, python: args }))
    const owned = new AsyncDisposableStack()
    const fleet = new CrashFleet(superlinks, faultFolder, args, owned)
    for (const [index] of nodeNames.entries()) await fleet.#startNode(index)
    owned.use(stack.move())
    return fleet
  }

  get deployment(): Deployment {
    return this.superlinks.deployment
  }

  /** The SuperLinks and the SuperNodes. */
  readonly programs = (): readonly TestProgram[] => [...this.superlinks.programs(), ...this.#nodes]

  /** Kills a program, and starts it again if nothing else does. `isOver`: nothing is going on that would reach the point. */
  async kill(kill: Kill, isOver: () => boolean): Promise<void> {
    const { victim, which } = kill
    if (!kill.point) await new Promise((resolve) => setTimeout(resolve, kill.delayMs))
    const end = (program: TestProgram): Promise<void> => this.#end(program, kill, isOver)
    if (victim.startsWith('SuperLink') || victim === 'database connections')
      return this.superlinks.kill(victim, which, end)
    if (victim === 'SuperExec') return this.superlinks.killSuperexec(which)
    if (victim.startsWith('SuperNode')) {
      const index = which % nodeNames.length
      await end(this.#nodes[index] as TestProgram)
      return this.#startNode(index)
    }
    const found = this.deployment.children(victim === 'ServerApp' ? 'flwr-serverapp' : 'flwr-clientapp')
    const pid = found[which % Math.max(1, found.length)]
    if (pid !== undefined) killIfAlive(pid)
  }

  async #end(program: TestProgram, kill: Kill, isOver: () => boolean): Promise<void> {
    const signal = kill.victim.endsWith('SIGTERM') ? 'SIGTERM' : 'SIGKILL'
    if (kill.point) {
      writeFileSync(join(this.#faultFolder, String(program.pid)), JSON.stringify(kill))
      killIfAlive(program.pid, 'SIGUSR2')
      await eventually('the fault point', () => program.hasEnded || isOver(), pointPatienceMs).catch(() => {})
    }
    program.kill(signal)
    await program.end()
  }

  /** Its id is its registration: the same at each start. */
  async #startNode(index: number): Promise<void> {
    const name = nodeNames[index] as string
    const node = await this.deployment.startSupernode(name, this.#args)
    const [, id = ''] = await node.line(/SuperNode ID: (\d+)/)
    const known = this.#nodeIds[index] ?? id
    this.#nodeIds[index] = known
    if (id !== known) this.faults.push(`${name} was node ${known} and is ${id} now`)
    this.#nodes[index] = node
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

/** Some points are passed seldom: then the program is killed where it is. */
const pointPatienceMs = 5000
