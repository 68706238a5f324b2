import { limits } from '../../base/limits.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import type { StoredMessage } from './message-store.ts'
import { findMessageFault } from './reply-check.ts'

/**
 * Checks each reply once before it is handed out: what one SuperNode sends must not end the ServerApp, and with it the run
 * of the others.
 */
export class CheckedReplies {
  /** Ids of good replies, the oldest first. */
  readonly #good = new Set<string>()

  /** What is wrong with a complete reply, or `undefined`. */
  async findFault(objects: SuperlinkContext['objects'], reply: StoredMessage): Promise<string | undefined> {
    const { messageId } = reply.metadata
    if (this.#good.has(messageId)) return undefined
    const kinds = await objects.listKinds(await flattenTreeInTurns(reply.tree))
    const fault = await findMessageFault(reply, kinds, async (id) => (await objects.get(id))?.content)
    if (fault !== undefined) return fault
    if (this.#good.size >= limits.repliesPerPullMax) this.#good.delete(this.#good.keys().next().value as string)
    this.#good.add(messageId)
    return undefined
  }
}
