import type { NodeId, RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import type { SuperlinkContext } from '../context.ts'
import { isReachable, type Node } from './node.ts'
import * as nodeStore from './node-store.ts'

/** The nodes that a run may use: the SuperNodes that have joined, or the virtual ones of a simulation. */
export interface RunNodes {
  /** Those that messages can reach now, in a fixed order. */
  listReachable(runId: RunId): Promise<readonly Node[]>
  /** Those of these nodes that messages are accepted for, whether they are online or not. */
  listAccepting(db: Db, runId: RunId, nodeIds: readonly NodeId[]): Promise<ReadonlySet<NodeId>>
  isReachable(runId: RunId, nodeId: NodeId): Promise<boolean>
  /** There are instructions of the run for these nodes. Called after commit. */
  wake(runId: RunId, nodeIds: readonly NodeId[]): void
  /** Instructions of the run that lacked objects are whole now. Called after commit; absent if nodes wait for objects themselves. */
  completed?(runId: RunId): void
}

/** The SuperNodes that have joined this SuperLink: every run may use them. */
export function joinedNodes(ctx: Pick<SuperlinkContext, 'db' | 'room' | 'bells' | 'knownNodes'>): RunNodes {
  return {
    async listReachable() {
      const now = ctx.room.leaseNow()
      return (await nodeStore.listOnline(ctx.db.read)).filter(
        (node) => node.admission === 'open' && ctx.knownNodes.onlineUntil(node) > now,
      )
    },
    async listAccepting(db, _runId, nodeIds) {
      return new Set(await nodeStore.listOpen(db, nodeIds))
    },
    async isReachable(_runId, nodeId) {
      const node = await ctx.knownNodes.find(nodeId)
      return node !== undefined && isReachable(node, ctx.room.leaseNow())
    },
    wake(_runId, nodeIds) {
      for (const nodeId of nodeIds) ctx.bells.instructions.ring(nodeId)
    },
  }
}
