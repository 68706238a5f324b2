import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Together } from '../../base/together.ts'
import type { SuperlinkContext } from '../context.ts'
import * as life from './life.ts'
import type { StoredMessage } from './message-store.ts'
import { listWaiting, readWaiting } from './node-messages.ts'

/**
 * Hands out messages to nodes. A push hands its messages to the calls that wait for one, in its own transaction. Other messages
 * are looked for: of many nodes in common transactions.
 */
export class Claims {
  readonly #together: Together<NodeId, StoredMessage | undefined>
  /**
   * Messages of pushes that have failed or whose outcome is unknown, for calls that wait: stored or not, no node has received
   * them. See `settleDoubts`.
   */
  readonly doubtful = new Set<StoredMessage>()
  readonly #waiting = new Map<NodeId, Set<WaitingCall>>()

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

  /** Returns a call of a node, which does not wait yet. The caller disposes of it. */
  callOf(nodeId: NodeId): WaitingCall {
    return new WaitingCall({
      open: (call) => this.#waiting.set(nodeId, (this.#waiting.get(nodeId) ?? new Set()).add(call)),
      close: (call) => {
        const ofNode = this.#waiting.get(nodeId)
        if (ofNode?.delete(call) && ofNode.size === 0) this.#waiting.delete(nodeId)
      },
    })
  }

  /** Reserves a call of the node that waits for a message, if there is one: no other message is handed to it. */
  reserve(nodeId: NodeId): WaitingCall | undefined {
    const [call] = this.#waiting.get(nodeId) ?? []
    call?.reserve()
    return call
  }
}

/** One call of a node that asks for a message. It waits between two looks at the database. */
export class WaitingCall implements Disposable {
  readonly #places: { open: (call: WaitingCall) => void; close: (call: WaitingCall) => void }
  #reserved: PromiseWithResolvers<StoredMessage | undefined> | undefined

  constructor(places: { open: (call: WaitingCall) => void; close: (call: WaitingCall) => void }) {
    this.#places = places
  }

  /** A push may reserve the call from now on. */
  open(): void {
    this.#places.open(this)
  }

  reserve(): void {
    this.#places.close(this)
    this.#reserved = Promise.withResolvers()
  }

  /** The push that has reserved the call gives it its message, or none if it has failed. */
  give(message?: StoredMessage): void {
    this.#reserved?.resolve(message)
  }

  /** Ends the wait. Returns the message that a push has given or, as soon as it is stored, gives. */
  async taken(): Promise<StoredMessage | undefined> {
    this.#places.close(this)
    const given = await this.#reserved?.promise
    this.#reserved = undefined
    return given
  }

  [Symbol.dispose](): void {
    this.#places.close(this)
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
