import type { NodeId, RunId } from '../../base/ids.ts'
import type { Database } from '../../db/database.ts'
import { isParticipant } from '../delivery/participant-store.ts'
import { ensureRunRunning } from '../runs/run.ts'

/**
 * The running runs and the nodes that each has asked for something, in memory: almost every call of a node asks for both. A
 * run is forgotten once its end is committed; until then it can only gain nodes.
 */
export class Participants {
  readonly #db: Pick<Database, 'read'>
  readonly #running = new Map<RunId, Set<NodeId>>()
  /** Counts ends, so that what was read before one is not kept after it. */
  #ends = 0

  constructor(db: Pick<Database, 'read'>) {
    this.#db = db
  }

  /** Returns false if the run has never asked the node for something. Throws `run-not-running` unless it is running. */
  async ensureRunning(nodeId: NodeId, runId: RunId): Promise<boolean> {
    if (this.#running.get(runId)?.has(nodeId)) return true
    const ends = this.#ends
    if (!(await isParticipant(this.#db.read, nodeId, runId))) return false
    await ensureRunRunning(this.#db.read, runId)
    if (ends === this.#ends) this.#keep(nodeId, runId)
    return true
  }

  /** The run has ended. */
  forget(runId: RunId): void {
    this.#ends += 1
    this.#running.delete(runId)
  }

  /** The end of a run may have been committed without a response, so without its effects. */
  forgetAll(): void {
    this.#ends += 1
    this.#running.clear()
  }

  #keep(nodeId: NodeId, runId: RunId): void {
    const nodes = this.#running.get(runId) ?? new Set()
    this.#running.set(runId, nodes.add(nodeId))
  }
}
