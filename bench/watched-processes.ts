import { readFileSync } from 'node:fs'
import { peakMegabytes } from '../test/harness/peak-memory.ts'
import { cpuSecondsOf, descendantsOf } from './processes.ts'

/** How often processes are looked at: one that ends is missed for at most this long. */
const everyMs = 100

/** Watches the processes below one until it is disposed. The system keeps the peak of each process itself. */
export class WatchedProcesses {
  readonly #pid: number
  readonly #seen = new Map<number, { readonly command: string; megabytes: number; cpuSeconds: number }>()
  readonly #timer: NodeJS.Timeout

  constructor(pid: number) {
    this.#pid = pid
    this.#timer = setInterval(() => this.#look(), everyMs)
  }

  /** The processor time of all of them so far, in seconds. */
  cpuSeconds(): number {
    this.#look()
    return [...this.#seen.values()].reduce((sum, process) => sum + process.cpuSeconds, 0)
  }

  /** The largest peak among the processes whose command matches, in megabytes. */
  peakOf(command: RegExp): number {
    this.#look()
    const found = [...this.#seen.values()].filter((process) => command.test(process.command))
    return Math.max(0, ...found.map(({ megabytes }) => megabytes))
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const pid of descendantsOf(this.#pid)) {
      try {
        const megabytes = peakMegabytes(pid)
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const cpuSeconds = cpuSecondsOf(pid)
        if (megabytes > 0) this.#seen.set(pid, { command, cpuSeconds, megabytes })
      } catch {
        // It has ended in the meantime.
      }
    }
  }
}
