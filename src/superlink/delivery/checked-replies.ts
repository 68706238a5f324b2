import { limits } from '../../base/limits.ts'
import type { CarriedObjects } from '../../objects/carried-objects.ts'
import type { ObjectKind } from '../../objects/object-store.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import type { NewMessage, StoredMessage } from './message-store.ts'
import { findMessageFault } from './reply-check.ts'

/**
 * Checks each reply once before it is handed out: what one SuperNode sends must not end the ServerApp, and with it the run
 * of the others.
 */
export class CheckedReplies {
  /** Ids of good replies, the oldest first, until the ServerApp confirms them or their run ends. */
  readonly #good = new Map<string, bigint>()

  /** Of all runs together. */
  get count(): number {
    return this.#good.size
  }

  /** The ServerApp has these replies. */
  forget(messageIds: readonly string[]): void {
    for (const id of messageIds) this.#good.delete(id)
  }

  /** The run has ended. */
  forgetRun(runId: bigint): void {
    for (const [id, run] of this.#good) if (run === runId) this.#good.delete(id)
  }

  /** What is wrong with a complete reply, or `undefined`. */
  async findFault(objects: SuperlinkContext['objects'], reply: StoredMessage): Promise<string | undefined> {
    if (this.#good.has(reply.metadata.messageId)) return undefined
    const kinds = await objects.listKinds(await flattenTreeInTurns(reply.tree))
    const fault = await findMessageFault(reply, kinds, async (id) => (await objects.get(id))?.content)
    if (fault === undefined) this.#note(reply)
    return fault
  }

  /** Checks a reply whose objects have just come with it. If something is wrong it is found again when it is handed out. */
  async noteCarried(reply: NewMessage, carried: CarriedObjects): Promise<void> {
    const ids = await flattenTreeInTurns(reply.tree)
    // Other objects of the reply were here before.
    if (!ids.every((id) => carried.has(id))) return
    const kinds = new Map([...carried].map(([id, { type }]) => [id, kindOf(type)]))
    const fault = await findMessageFault(reply, kinds, async (id) => carried.get(id)?.bytes)
    if (fault === undefined) this.#note(reply)
  }

  #note({ metadata: { messageId, runId } }: NewMessage): void {
    if (this.#good.size >= limits.repliesPerPullMax) this.#good.delete(this.#good.keys().next().value as string)
    this.#good.set(messageId, runId)
  }
}

const kindOf = (type: string): ObjectKind => (type === 'ArrayChunk' ? 'chunk' : 'other')
