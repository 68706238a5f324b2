/**
 * Knows which files of a bucket's objects are on this disk, and which of them to delete so that they fit. The one that was
 * used longest ago goes first; a file that is pinned stays.
 */
export class ObjectCache {
  readonly #bytesMax: number
  /** Sizes; the one that was used longest ago comes first. */
  readonly #sizes = new Map<string, number>()
  readonly #pins = new Map<string, number>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Whether the file is here; it counts as used. */
  use(objectId: string): boolean {
    const size = this.#sizes.get(objectId)
    if (size === undefined) return false
    this.#sizes.delete(objectId)
    this.#sizes.set(objectId, size)
    return true
  }

  add(objectId: string, size: number): void {
    this.forget(objectId)
    this.#sizes.set(objectId, size)
    this.#bytes += size
  }

  forget(objectId: string): void {
    this.#bytes -= this.#sizes.get(objectId) ?? 0
    this.#sizes.delete(objectId)
  }

  /** Keeps the file until the pin is disposed of. */
  pin(objectId: string): Disposable {
    this.#pins.set(objectId, (this.#pins.get(objectId) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        const left = (this.#pins.get(objectId) ?? 1) - 1
        if (left === 0) this.#pins.delete(objectId)
        else this.#pins.set(objectId, left)
      },
    }
  }

  /** Forgets one file unless `bytes` more fit, and returns it: the caller deletes it. */
  evict(bytes: number): string | undefined {
    if (this.#bytes + bytes <= this.#bytesMax) return undefined
    for (const id of this.#sizes.keys()) {
      if (this.#pins.has(id)) continue
      this.forget(id)
      return id
    }
    return undefined
  }
}
