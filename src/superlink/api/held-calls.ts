import { DomainError } from '../../base/errors.ts'
import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'

/** Bounds how many calls of one node wait at the same time. */
export class HeldCalls {
  readonly #counts = new Map<NodeId, number>()

  async hold<T>(nodeId: NodeId, waitMs: number, work: (waitMs: number) => Promise<T>): Promise<T> {
    const count = this.#counts.get(nodeId) ?? 0
    if (count >= limits.heldCallsPerNodeMax) {
      throw new DomainError(
        'too-many-calls',
        `More than ${limits.heldCallsPerNodeMax} calls of node ${nodeId} wait at the same time.`,
      )
    }
    this.#counts.set(nodeId, count + 1)
    try {
      return await work(waitMs)
    } finally {
      const left = (this.#counts.get(nodeId) ?? 1) - 1
      if (left > 0) this.#counts.set(nodeId, left)
      else this.#counts.delete(nodeId)
    }
  }
}
