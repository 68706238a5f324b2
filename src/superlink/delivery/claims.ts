import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Together } from '../../base/together.ts'
import type { SuperlinkContext } from '../context.ts'
import { takeApartIn } from './joined-messages.ts'
import * as life from './life.ts'
import type { StoredMessage } from './message-store.ts'
import { listWaiting, readWaiting } from './node-messages.ts'

/**
 * Hands out messages to nodes. A push hands its messages to the calls that wait for one, in its own transaction. Other messages
 * are looked for: of many nodes in common transactions.
 */
export class Claims {
  readonly #together: Together<Asking, StoredMessage | undefined>
  /**
   * Messages of pushes that have failed or whose outcome is unknown, for calls that wait: stored or not, no node has received
   * them. See `settleDoubts`.
   */
  readonly doubtful = new Set<StoredMessage>()
  /** Messages that nodes have, the oldest first: each reply asks for its own. */
  readonly #handed = new Map<string, { readonly nodeId: bigint; readonly runId: bigint }>()
  readonly #waiting = new Map<NodeId, Set<WaitingCall>>()

  constructor(ctx: () => Pick<SuperlinkContext, 'db' | 'clock' | 'objects'>) {
    this.#together = new Together({
      work: (asking) => claimAll(ctx(), asking),
      // Two calls of one node receive different messages.
      keysOf: ({ nodeId }) => [nodeId],
      atOnce: limits.messagesPerTransactionMax,
    })
  }

  /** Hands out the oldest message that waits for the node, if there is one. */
  next(nodeId: NodeId, takesWhole: boolean): Promise<StoredMessage | undefined> {
    return this.#together.do({ nodeId, takesWhole })
  }

  /** A node has received the message. */
  noteHanded({ metadata: { messageId, dstNodeId: nodeId, runId } }: StoredMessage): void {
    if (this.#handed.size >= limits.messagesPerPushMax) this.#handed.delete(this.#handed.keys().next().value as string)
    this.#handed.set(messageId, { nodeId, runId })
  }

  /** Whether the node has received this message of the run lately. It may be answered or forgotten since. */
  wasHanded(nodeId: NodeId, runId: RunId, messageId: string): boolean {
    const handed = this.#handed.get(messageId)
    return handed?.nodeId === nodeId && handed.runId === runId
  }

  /** The message is answered. */
  forgetHanded(messageId: string): void {
    this.#handed.delete(messageId)
  }

  /** Returns a call of a node, which does not wait yet. The caller disposes of it. */
  callOf(nodeId: NodeId, takesWhole: boolean): WaitingCall {
    return new WaitingCall(takesWhole, {
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

  /** Whether it takes the objects of a small message along. */
  readonly takesWhole: boolean

  constructor(takesWhole: boolean, places: { open: (call: WaitingCall) => void; close: (call: WaitingCall) => void }) {
    this.takesWhole = takesWhole
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

interface Asking {
  readonly nodeId: NodeId
  readonly takesWhole: boolean
}

async function claimAll(
  ctx: Pick<SuperlinkContext, 'db' | 'clock' | 'objects'>,
  asking: readonly Asking[],
): Promise<(StoredMessage | undefined)[]> {
  const { db } = ctx
  const now = ctx.clock.now()
  const nodeIds = asking.map(({ nodeId }) => nodeId)
  const asked = await listWaiting(db.read, nodeIds, now)
  if (asked.length === 0) return nodeIds.map(() => undefined)
  const inParts = new Set(asking.filter(({ takesWhole }) => !takesWhole).map(({ nodeId }) => nodeId))
  const claimed = await db.transaction(async (tx, afterCommit) => {
    // Look again in the transaction: a message may have been given back or forgotten.
    const found = await listWaiting(
      tx,
      asked.map(({ nodeId }) => nodeId),
      now,
    )
    const messages = await readWaiting(tx, found)
    const apart = messages.filter(({ isJoined, metadata }) => isJoined && inParts.has(metadata.dstNodeId as NodeId))
    if (apart.length > 0) await takeApartIn(ctx, tx, afterCommit, apart.map(life.idOf))
    await life.handOut(tx, messages, now)
    const parted = new Set(apart)
    return messages.map((message) => (parted.has(message) ? withoutJoined(message) : message))
  })
  const byNode = new Map(claimed.map((message) => [message.metadata.dstNodeId, message]))
  return nodeIds.map((nodeId) => {
    const message = byNode.get(nodeId)
    return message && { ...message, state: 'fetched' as const, deliveredAt: now }
  })
}

function withoutJoined({ joined: _joined, ...message }: StoredMessage): StoredMessage {
  return { ...message, isJoined: false }
}
