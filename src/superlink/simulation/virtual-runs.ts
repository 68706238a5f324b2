import { createHash } from 'node:crypto'
import { DomainError } from '../../base/errors.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { UserConfig } from '../../base/user-config.ts'
import type { Db } from '../../db/database.ts'
import { readFab } from '../../fab/bundle.ts'
import { fuseConfig } from '../../fab/pyproject.ts'
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
}

/** The runs whose nodes are in use, each read once. What is forgotten is read again. */
export class VirtualRuns {
  readonly #db: Db
  readonly #machine: Machine
  readonly #known = new Map<RunId, Promise<VirtualRun>>()

  constructor(db: Db, machine: Machine) {
    this.#db = db
    this.#machine = machine
  }

  /** Throws `run-not-running` for a run that is none of a simulation. */
  async get(runId: RunId): Promise<VirtualRun> {
    const known = this.#known.get(runId)
    if (known) return known
    const run = this.#read(runId)
    this.#known.set(runId, run)
    run.catch(() => this.#known.delete(runId))
    return run
  }

  forget(runId: RunId): void {
    this.#known.delete(runId)
  }

  async #read(runId: RunId): Promise<VirtualRun> {
    const run = await findRun(this.#db, runId)
    if (!run?.simulation) throw new DomainError('run-not-running', `Run ${runId} has no virtual nodes.`)
    const { manifest } = await readFab(await getFab(this.#db, run.fabHash))
    const nodeIds = createNodeIds(runId, run.simulation.numSupernodes ?? 0)
    return {
      runId,
      seriesId: run.seriesId,
      fabHash: run.fabHash,
      nodeIds,
      partitions: new Map(nodeIds.map((nodeId, index) => [nodeId, index])),
      runConfig: fuseConfig(manifest.config, run.overrideConfig),
      component: manifest.components.clientapp,
      atOnce: appsAtOnce(run.simulation, this.#machine),
    }
  }
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
