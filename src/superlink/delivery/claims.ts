import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Together } from '../../base/together.ts'
import type { SuperlinkContext } from '../context.ts'
import * as life from './life.ts'
import type { StoredMessage } from './message-store.ts'
import { listWaiting, readWaiting } from './node-messages.ts'

/** Hands out messages to nodes. A push wakes all of its nodes at once: they receive their messages in common transactions. */
export class Claims {
  readonly #together: Together<NodeId, StoredMessage | undefined>

  constructor(ctx: Pick<SuperlinkContext, 'db' | 'clock'>) {
    this.#together = new Together({
      work: (nodeIds) => claimAll(ctx, nodeIds),
      // Two calls of one node receive different messages.
      keysOf: (nodeId) => [nodeId],
      atOnce: limits.messagesPerTransactionMax,
    })
  }

  /** Hands out the oldest message that waits for the node, if there is one. */
  next(nodeId: NodeId): Promise<StoredMessage | undefined> {
    return this.#together.do(nodeId)
  }
}

async function claimAll(
  { db, clock }: Pick<SuperlinkContext, 'db' | 'clock'>,
  nodeIds: readonly NodeId[],
): Promise<(StoredMessage | undefined)[]> {
  const now = clock.now()
  const asked = await listWaiting(db.read, nodeIds, now)
  if (asked.length === 0) return nodeIds.map(() => undefined)
  const claimed = await db.transaction(async (tx) => {
    // Look again in the transaction: a message may have been given back or forgotten.
    const found = await listWaiting(
      tx,
      asked.map(({ nodeId }) => nodeId),
      now,
    )
    const messages = await readWaiting(tx, found)
    await life.handOut(tx, messages, now)
    return messages
  })
  const byNode = new Map(claimed.map((message) => [message.metadata.dstNodeId, message]))
  return nodeIds.map((nodeId) => {
    const message = byNode.get(nodeId)
    return message && { ...message, state: 'fetched' as const, deliveredAt: now }
  })
}
