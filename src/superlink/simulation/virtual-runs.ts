import { createHash } from 'node:crypto'
import { DomainError } from '../../base/errors.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { UserConfig } from '../../base/user-config.ts'
import type { Db } from '../../db/database.ts'
import { chooseClientApp } from '../../fab/app-components.ts'
import { fuseConfig } from '../../fab/pyproject.ts'
import { readFab } from '../../fab/read-fab.ts'
import { getFab } from '../apps/fabs.ts'
import { findRun } from '../runs/run.ts'
import { appsAtOnce, type Machine } from './settings.ts'

/** A run of a simulation, with what its virtual nodes have in common. */
export interface VirtualRun {
  readonly runId: RunId
  readonly seriesId: bigint
  readonly fabHash: string
  /** In the order of their partitions. */
  readonly nodeIds: readonly NodeId[]
  readonly partitions: ReadonlyMap<NodeId, number>
  readonly runConfig: UserConfig
  /** Component reference of the ClientApp. */
  readonly component: string
  /** How many of its ClientApps may run at the same time, when no other run is there. */
  readonly atOnce: number
  /** Whether the run had ended when it was read: then it is not remembered. */
  readonly ended: boolean
}

/** The runs whose nodes are in use, each read once. A run that was forgotten is read again. */
export class VirtualRuns {
  readonly #db: Db
  readonly #machine: Machine
  readonly #known = new Map<RunId, Promise<VirtualRun>>()
  readonly #partitions = new Map<RunId, ReadonlyMap<NodeId, number>>()

  constructor(db: Db, machine: Machine) {
    this.#db = db
    this.#machine = machine
  }

  /** Throws `run-not-running` for a run without virtual nodes. Reads the app: not within a transaction. */
  async get(runId: RunId): Promise<VirtualRun> {
    const known = this.#known.get(runId)
    if (known) return known
    const run = this.#read(runId)
    this.#known.set(runId, run)
    const forget = () => this.#known.delete(runId)
    run.then(({ ended }) => ended && forget(), forget)
    return run
  }

  /**
   * The nodes of a run with their partitions; needs no more than the row of the run, so that a transaction may ask. Throws
   * `run-not-running` for a run without virtual nodes.
   */
  async partitions(db: Db, runId: RunId): Promise<ReadonlyMap<NodeId, number>> {
    const known = this.#partitions.get(runId)
    if (known) return known
    const { simulation, ended } = await readSettings(db, runId)
    const nodeIds = createNodeIds(runId, simulation.numSupernodes ?? 0)
    const partitions = new Map(nodeIds.map((nodeId, index) => [nodeId, index]))
    // The value, not its promise: a transaction must not wait for a read of another caller.
    if (!ended) this.#partitions.set(runId, partitions)
    return partitions
  }

  forget(runId: RunId): void {
    this.#known.delete(runId)
    this.#partitions.delete(runId)
  }

  async #read(runId: RunId): Promise<VirtualRun> {
    const { run, simulation, ended } = await readSettings(this.#db, runId)
    const { manifest } = await readFab(await getFab(this.#db, run.fabHash))
    const partitions = await this.partitions(this.#db, runId)
    return {
      runId,
      seriesId: run.seriesId,
      fabHash: run.fabHash,
      nodeIds: [...partitions.keys()],
      partitions,
      runConfig: fuseConfig(manifest.config, run.overrideConfig),
      component: chooseClientApp(manifest.components, 'typescript'),
      atOnce: appsAtOnce(simulation, this.#machine),
      ended,
    }
  }
}

async function readSettings(db: Db, runId: RunId) {
  const run = await findRun(db, runId)
  if (!run?.simulation) throw new DomainError('run-not-running', `Run ${runId} has no virtual nodes.`)
  return { run, simulation: run.simulation, ended: run.task.status === 'finished' }
}

/** The ids follow from the run's, so that they are the same after a restart and need no table. */
export function createNodeIds(runId: RunId, count: number): NodeId[] {
  const ids = new Set<NodeId>()
  for (let draw = 0; ids.size < count; draw++) {
    const id = createHash('sha256').update(`${runId} ${draw}`).digest().readBigUInt64LE() as NodeId
    if (id > superlinkNodeId) ids.add(id)
  }
  return [...ids]
}
