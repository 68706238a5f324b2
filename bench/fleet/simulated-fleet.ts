import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { Issued } from '../../src/identity/pki.ts'
import { type Counts, sumOf } from './fleet-counts.ts'

/** The nodes of one process. */
export interface FleetSettings {
  readonly host: string
  readonly port: number
  readonly ca: Issued
  readonly first: number
  readonly count: number
  /** How many nodes of a process connect at the same time. */
  readonly joinsAtOnce: number
  /** With keys, each node signs its calls and shows no certificate. */
  readonly credentials: 'certificates' | 'keys'
  /** How long a node waits after a response without a message. */
  readonly pollPauseMs: number
  readonly messages: MessageTransport
}

/** Flower's SuperNodes move each object of a message by a call of its own; ours move small messages whole. */
export type MessageTransport = 'in-parts' | 'whole'

export type FleetCommand =
  | { readonly kind: 'prepare'; readonly settings: FleetSettings }
  | { readonly kind: 'join' }
  | { readonly kind: 'vanish'; readonly count: number }
  | { readonly kind: 'report' }

export type FleetReport =
  | { readonly kind: 'prepared' }
  | { readonly kind: 'joined' }
  | { readonly kind: 'vanishing' }
  | { readonly kind: 'counts'; readonly counts: Counts; readonly cpu: NodeJS.CpuUsage }
  | { readonly kind: 'failed'; readonly reason: string }

const nodesPerProcess = 2500

/** Simulated SuperNodes in processes of their own, each node with its own certificate and connection. */
export class SimulatedFleet implements Disposable {
  readonly #processes: readonly ChildProcess[]

  private constructor(processes: readonly ChildProcess[]) {
    this.#processes = processes
  }

  /** Starts the processes and makes the certificates. */
  static async prepare(options: Omit<FleetSettings, 'first' | 'count'> & { nodes: number }): Promise<SimulatedFleet> {
    const { nodes, ...common } = options
    const processes = Math.ceil(nodes / nodesPerProcess)
    const count = Math.ceil(nodes / processes)
    const fleet = new SimulatedFleet(
      Array.from({ length: processes }, () =>
        fork(join(import.meta.dirname, 'fleet-process.ts'), { serialization: 'advanced' }),
      ),
    )
    try {
      await fleet.#all('prepared', (index) => {
        const first = index * count
        return { kind: 'prepare', settings: { ...common, first, count: Math.min(count, nodes - first) } }
      })
    } catch (error) {
      fleet[Symbol.dispose]()
      throw error
    }
    return fleet
  }

  /** Connects all nodes; then they wait for messages. */
  async join(): Promise<void> {
    await this.#all('joined', () => ({ kind: 'join' }))
  }

  /** So many nodes, of all processes, cut their connection when they receive their next message, and stay away. */
  async vanish(count: number): Promise<void> {
    const each = Math.floor(count / this.#processes.length)
    const rest = count - each * this.#processes.length
    await this.#all('vanishing', (index) => ({ kind: 'vanish', count: each + (index === 0 ? rest : 0) }))
  }

  /** What all nodes did since the last report, and the processor time of the generator since its start, in seconds. */
  async report(): Promise<{ counts: Counts; cpuSeconds: number }> {
    const reports = await this.#all('counts', () => ({ kind: 'report' }))
    const cpuSeconds = reports.reduce((sum, { cpu }) => sum + (cpu.user + cpu.system) / 1e6, 0)
    return { counts: sumOf(reports.map(({ counts }) => counts)), cpuSeconds }
  }

  [Symbol.dispose](): void {
    for (const child of this.#processes) child.kill()
  }

  #all<K extends FleetReport['kind']>(
    kind: K,
    command: (index: number) => FleetCommand,
  ): Promise<Extract<FleetReport, { kind: K }>[]> {
    return Promise.all(
      this.#processes.map(
        (child, index) =>
          new Promise<Extract<FleetReport, { kind: K }>>((resolve, reject) => {
            const settle = (done: () => void): void => {
              child.off('message', onReport).off('exit', onExit)
              done()
            }
            const onReport = (report: FleetReport): void => {
              if (report.kind === 'failed') settle(() => reject(new Error(report.reason)))
              else if (report.kind === kind) settle(() => resolve(report as Extract<FleetReport, { kind: K }>))
            }
            const onExit = (): void => settle(() => reject(new Error('A process of the fleet ended.')))
            child.on('message', onReport).on('exit', onExit)
            // The process may have ended, e.g. because its time was over.
            child.send(command(index), (error) => error && settle(() => reject(error)))
          }),
      ),
    )
  }
}
