import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'

/**
 * Error replies to message ids that no run has. Each exists for the app that asked, until it has fetched it: a question
 * about ids that never were must leave nothing in the database.
 */
export class PassingReplies {
  readonly #runs = new Map<RunId, Map<string, Uint8Array>>()

  /** Keeps the object of a reply; of too many the oldest of the run is dropped. */
  keep(runId: RunId, objectId: string, content: Uint8Array): void {
    const objects = this.#runs.get(runId) ?? new Map<string, Uint8Array>()
    this.#runs.set(runId, objects)
    if (objects.size >= limits.repliesPerPullMax) objects.delete(objects.keys().next().value as string)
    objects.set(objectId, content)
  }

  find(runId: RunId, objectId: string): Uint8Array | undefined {
    return this.#runs.get(runId)?.get(objectId)
  }

  remove(runId: RunId, objectId: string): void {
    this.#runs.get(runId)?.delete(objectId)
  }

  /** The run has ended. */
  forget(runId: RunId): void {
    this.#runs.delete(runId)
  }
}
