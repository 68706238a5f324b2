import { join } from 'node:path'
import type { TestProgram } from '../../test/harness/program.ts'
import { cpuSecondsOf, peakResidentMegabytes, residentMegabytes } from '../processes.ts'

/** For the environment of a SuperLink that is to be observed. */
export const observed = { NODE_OPTIONS: `--import ${join(import.meta.dirname, 'observe.mjs')}` }

/** What the system and the program itself tell of a running SuperLink. */
export class ObservedSuperlink {
  readonly #program: TestProgram
  #looks = 0

  constructor(program: TestProgram) {
    this.#program = program
  }

  /** Processor time since the start, in seconds. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.#program.pid)
  }

  residentMegabytes(): number {
    return residentMegabytes(this.#program.pid)
  }

  /** The most that was resident at any time. */
  peakMegabytes(): number {
    return peakResidentMegabytes(this.#program.pid)
  }

  /** What happened since the last call. The first call begins to measure the event loop. */
  async look(): Promise<Observation> {
    this.#looks += 1
    this.#program.kill('SIGUSR2')
    const [, seen = ''] = await this.#program.line(new RegExp(`observed ${this.#looks}: (.*\\})\n`))
    return JSON.parse(seen) as Observation
  }
}

export interface Observation {
  readonly eventLoopDelayMs: { readonly p99: number; readonly max: number }
  /** How often each SQL statement was executed. */
  readonly statements: Readonly<Record<string, number>>
}
