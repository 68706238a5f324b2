import { limits } from '../base/limits.ts'

/**
 * Contents that were read lately: a round sends the same objects to all of its nodes, and each of them asks. An id is the
 * hash of its content, so a content is never outdated; it is forgotten when its object is deleted.
 */
export class SharedContents {
  /** The one that was asked for longest ago comes first. */
  readonly #contents = new Map<string, Uint8Array>()
  #bytes = 0
  #deletions = 0
  #timer: NodeJS.Timeout | undefined

  /** To be read before a row, and given to `keep` with its content. */
  get deletions(): number {
    return this.#deletions
  }

  find(objectId: string): Uint8Array | undefined {
    const content = this.#contents.get(objectId)
    if (!content) return undefined
    this.#contents.delete(objectId)
    this.#contents.set(objectId, content)
    return content
  }

  *findAll(objectIds: Iterable<string>): Generator<[string, Uint8Array]> {
    for (const id of objectIds) {
      const content = this.find(id)
      if (content) yield [id, content]
    }
  }

  /** Keeps the content, unless objects were deleted since its row was read: it may be one of them. */
  keep(objectId: string, content: Uint8Array, deletions: number): void {
    const isLarge = content.length > limits.sharedContentsBytesMax / 8
    if (isLarge || deletions !== this.#deletions || this.#contents.has(objectId)) return
    this.#contents.set(objectId, content)
    this.#bytes += content.length
    for (const oldest of this.#contents.keys()) {
      if (this.#bytes <= limits.sharedContentsBytesMax && this.#contents.size <= limits.sharedContentsMax) break
      this.#forget(oldest)
    }
    this.#timer ??= setTimeout(() => this.#clear(), limits.sharedContentsMs).unref()
  }

  /** Objects were deleted. */
  forget(objectIds: Iterable<string>): void {
    this.#deletions += 1
    for (const id of objectIds) this.#forget(id)
  }

  #forget(objectId: string): void {
    this.#bytes -= this.#contents.get(objectId)?.length ?? 0
    this.#contents.delete(objectId)
  }

  #clear(): void {
    this.#timer = undefined
    this.#contents.clear()
    this.#bytes = 0
  }
}
