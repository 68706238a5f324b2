import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Deployment } from '../harness/deployment.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { eventually, killIfAlive, type TestProgram } from '../harness/program.ts'
import type { Kill } from './plan.ts'

const hook = pathToFileURL(join(import.meta.dirname, 'fault-points.mjs')).href
const nodeNames = ['node-1', 'node-2'] as const

/** A SuperLink and two SuperNodes that are started again when they are killed. */
export class CrashFleet implements AsyncDisposable {
  readonly deployment: Deployment
  readonly faults: string[] = []
  readonly #faultFolder: string
  readonly #args: readonly string[]
  readonly #nodes: TestProgram[] = []
  readonly #nodeIds: string[] = []
  readonly #stack: AsyncDisposableStack

  private constructor(
    deployment: Deployment,
    faultFolder: string,
    args: readonly string[],
    stack: AsyncDisposableStack,
  ) {
    this.deployment = deployment
    this.#faultFolder = faultFolder
    this.#args = args
    this.#stack = stack
  }

  /** `python`: the environment of Python apps. */
  static async start(python: string | undefined): Promise<CrashFleet> {
    await using onFailure = new AsyncDisposableStack()
    const faultFolder = onFailure.use(temporaryDirectory()).path
    mkdirSync(faultFolder, { recursive: true })
    const args = python === undefined ? [] : ['--python', join(python, 'bin', 'python')]
    const deployment = onFailure.use(
      await Deployment.create({
        mutualTls: true,
        superlinkArguments: args,
        environment: { NODE_OPTIONS: `--import=${hook}`, TRELLIS_FAULT_FOLDER: faultFolder },
      }),
    )
    const stack = new AsyncDisposableStack()
    const fleet = new CrashFleet(deployment, faultFolder, args, stack)
    for (const [index] of nodeNames.entries()) await fleet.#startNode(index)
    stack.use(onFailure.move())
    return fleet
  }

  /** The SuperLink and the SuperNodes. */
  readonly programs = (): readonly TestProgram[] => [this.deployment.superlink, ...this.#nodes]

  /** Kills a program, and starts it again if nothing else does. `isOver`: nothing is going on that would reach the point. */
  async kill(kill: Kill, isOver: () => boolean): Promise<void> {
    const { victim } = kill
    if (!kill.point) await new Promise((resolve) => setTimeout(resolve, kill.delayMs))
    const signal = victim.endsWith('SIGTERM') ? 'SIGTERM' : 'SIGKILL'
    if (victim.startsWith('SuperLink')) {
      await this.#end(this.deployment.superlink, signal, kill, isOver)
      await this.deployment.startSuperlink()
    } else if (victim.startsWith('SuperNode')) {
      const index = kill.which % nodeNames.length
      await this.#end(this.#nodes[index] as TestProgram, signal, kill, isOver)
      await this.#startNode(index)
    } else {
      const found = this.#childrenOf(victim)
      const pid = found[kill.which % Math.max(1, found.length)]
      if (pid !== undefined) killIfAlive(pid)
    }
  }

  async #end(program: TestProgram, signal: 'SIGTERM' | 'SIGKILL', kill: Kill, isOver: () => boolean): Promise<void> {
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

  #childrenOf(victim: Kill['victim']): number[] {
    const { deployment } = this
    if (victim !== 'SuperExec') return deployment.children(victim === 'ServerApp' ? 'flwr-serverapp' : 'flwr-clientapp')
    return deployment.children('flower-superexec').filter((pid) => parentOf(pid) === deployment.superlink.pid)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

/** Some points are passed seldom: then the program is killed where it is. */
const pointPatienceMs = 5000

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    // It has ended meanwhile.
    return 0
  }
}
