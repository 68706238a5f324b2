import { join } from 'node:path'
import type { TestProgram } from './program.ts'

const preload = join(import.meta.dirname, 'longest-turn.mjs')

/** For the environment of a program whose turns shall be measured. */
export const measured = { NODE_OPTIONS: `--import ${preload}` }

/**
 * For one whose memory shall be measured. V8 lets the garbage of its young generation grow to many megabytes, however little
 * is in use: here it is kept small.
 */
export const measuredMemory = { NODE_OPTIONS: `${measured.NODE_OPTIONS} --expose-gc --max-semi-space-size=4` }

export interface Measured {
  /** The longest turn of the event loop since the last look, in milliseconds of processor time. */
  readonly turnMs: number
  /** The most memory since then, in bytes, and what is left of it now, with `measuredMemory` after a collection of garbage. */
  readonly mostBytes: number
  readonly leftBytes: number
}

/** What a measured program has used since the last look: see `longest-turn.mjs`. */
export class Measure {
  readonly #program: TestProgram
  #looks = 0

  constructor(program: TestProgram) {
    this.#program = program
  }

  async look(): Promise<Measured> {
    this.#looks += 1
    this.#program.kill('SIGUSR2')
    const said = await this.#program.line(new RegExp(`look ${this.#looks}: ([\\d.]+) ms, most (\\d+), left (\\d+)`))
    return { turnMs: Number(said[1]), mostBytes: Number(said[2]), leftBytes: Number(said[3]) }
  }
}
