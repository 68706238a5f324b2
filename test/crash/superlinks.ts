import { readFileSync } from 'node:fs'
import { Deployment } from '../harness/deployment.ts'
import { killIfAlive, run, type TestProgram } from '../harness/program.ts'
import type { Victim } from './plan.ts'

/** The SuperLinks of a fleet, with what launches ServerApps. */
export interface Superlinks extends AsyncDisposable {
  readonly deployment: Deployment
  readonly programs: () => readonly TestProgram[]
  /** Kills one of them, starts it again, and returns when calls are served. `which`: which standby. */
  kill(victim: Victim, which: number, end: (program: TestProgram) => Promise<void>): Promise<void>
  /** Kills what launches ServerApps; it is started again. */
  killSuperexec(which: number): void
  /** After the last kill: returns the faults of what is stored. */
  check(): Promise<readonly string[]>
}

export interface SuperlinksOptions {
  /** Of each program. */
  readonly environment: Readonly<Record<string, string>>
  /** Arguments that name the environment of Python apps. */
  readonly python: readonly string[]
}

/** One SuperLink with a file as database, and with a SuperExec of its own. */
export class OneSuperlink implements Superlinks {
  readonly deployment: Deployment

  private constructor(deployment: Deployment) {
    this.deployment = deployment
  }

  static async start({ environment, python }: SuperlinksOptions): Promise<OneSuperlink> {
    return new OneSuperlink(await Deployment.create({ mutualTls: true, superlinkArguments: python, environment }))
  }

  readonly programs = (): readonly TestProgram[] => [this.deployment.superlink]

  async kill(_victim: Victim, _which: number, end: (program: TestProgram) => Promise<void>): Promise<void> {
    await end(this.deployment.superlink)
    await this.deployment.startSuperlink()
  }

  killSuperexec(which: number): void {
    const { deployment } = this
    const own = deployment.children('flower-superexec').filter((pid) => parentOf(pid) === deployment.superlink.pid)
    const pid = own[which % Math.max(1, own.length)]
    if (pid !== undefined) killIfAlive(pid)
  }

  async check(): Promise<readonly string[]> {
    const { status, said } = await run('flower-superlink', [
      'check',
      '--database',
      this.deployment.directory.file('state.db'),
    ])
    return status === 0 ? [] : [said]
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.deployment[Symbol.asyncDispose]()
  }
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    // It has ended meanwhile.
    return 0
  }
}
