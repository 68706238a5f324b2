import { superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { CarriedObjects } from '../../objects/carried-objects.ts'
import { joinedLength, joinObjects } from '../../objects/joined-objects.ts'
import { flattenTree } from '../../objects/object-tree.ts'
import type { JoinedObjects, NewMessage } from './message-store.ts'

/**
 * Decides which new messages are stored with their objects in one row. A reply has all of them there. An instruction has its
 * root there; what it shares with the other instructions of a push, such as the model, is named once for all of them: a
 * bundle.
 */
export class Joining {
  readonly #carried: CarriedObjects
  /** How many of the messages have this child as their only one. */
  readonly #shared = new Map<string, number>()
  /** The objects of each bundle by the child that stands for it; `undefined` if they did not all come along. */
  readonly #bundled = new Map<string, readonly string[] | undefined>()

  constructor(messages: readonly NewMessage[], carried: CarriedObjects) {
    this.#carried = carried
    if (carried.size === 0) return
    for (const { metadata, tree } of messages) {
      const [child, ...others] = tree.children
      if (metadata.dstNodeId === superlinkNodeId || !child || others.length > 0) continue
      this.#shared.set(child.objectId, (this.#shared.get(child.objectId) ?? 0) + 1)
    }
  }

  /** The bundles of the messages that were joined, to be named with them. */
  get bundles(): { messageId: string; objectIds: readonly string[] }[] {
    return [...this.#bundled].flatMap(([child, objectIds]) =>
      objectIds ? [{ messageId: bundleIdOf(child), objectIds }] : [],
    )
  }

  /** Returns what the row of a new message holds, or `undefined` if its objects have rows of their own. */
  join(message: NewMessage, objectIds: readonly string[]): (JoinedObjects & { readonly count: number }) | undefined {
    if (this.#carried.size === 0) return undefined
    const isReply = message.metadata.dstNodeId === superlinkNodeId
    if (isReply && message.metadata.replyToMessageId === '') return undefined
    const count = objectIds.length
    const child = isReply ? undefined : message.tree.children[0]
    if (!child || (this.#shared.get(child.objectId) ?? 0) < 2) {
      const objects = this.#joined(objectIds, isReply ? limits.joinedObjectsBytesMax : limits.joinedRootBytesMax)
      return objects && { objects, count, bundleId: undefined }
    }
    const objects = this.#joined([message.tree.objectId], limits.joinedRootBytesMax)
    if (!objects || !this.#bundle(child)) return undefined
    return { objects, count, bundleId: bundleIdOf(child.objectId) }
  }

  #joined(ids: readonly string[], bytesMax: number): Uint8Array | undefined {
    const objects: Uint8Array[] = []
    for (const id of ids) {
      const object = this.#carried.get(id)
      if (!object) return undefined
      objects.push(object.bytes)
    }
    return joinedLength(objects.map(({ length }) => length)) > bytesMax ? undefined : joinObjects(objects)
  }

  /** Returns whether all objects of the bundle came along. */
  #bundle(child: NewMessage['tree']): boolean {
    if (!this.#bundled.has(child.objectId)) {
      const ids = flattenTree(child)
      this.#bundled.set(child.objectId, ids.every((id) => this.#carried.has(id)) ? ids : undefined)
    }
    return this.#bundled.get(child.objectId) !== undefined
  }
}

/** No message has such an id, for it is no hash. */
function bundleIdOf(objectId: string): string {
  return `x${objectId.slice(1)}`
}
