import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestProgram } from './program.ts'

/** For the environment of a program whose turns and memory shall be measured. */
export const measured = { NODE_OPTIONS: `--import ${join(import.meta.dirname, 'longest-turn.mjs')}` }

/** What a measured program has used since the last look: see `longest-turn.mjs`. */
export class Measure {
  readonly #program: TestProgram
  #looks = 0

  constructor(program: TestProgram) {
    this.#program = program
  }

  /** The longest turn of the event loop since the last call, in milliseconds of processor time. */
  async longestTurnMs(): Promise<number> {
    this.#looks += 1
    this.#program.kill('SIGUSR2')
    return Number((await this.#program.line(new RegExp(`longest turn ${this.#looks}: ([\\d.]+) ms`)))[1])
  }

  /** Forgets the highest memory: from here on it is what the program holds now. Returns that, in bytes. */
  startMemory(): number {
    writeFileSync(`/proc/${this.#program.pid}/clear_refs`, '5')
    return this.#status('VmRSS')
  }

  /** The most resident memory since `startMemory`, in bytes. */
  highestMemory(): number {
    return this.#status('VmHWM')
  }

  #status(name: string): number {
    const text = readFileSync(`/proc/${this.#program.pid}/status`, 'utf8')
    return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1]) * 1024
  }
}
