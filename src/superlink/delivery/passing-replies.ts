import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'

type Entry = [RunId, Map<string, Uint8Array>]

/**
 * Error replies to message ids that no run has. Each exists for the app that asked, until it has fetched it: a question
 * about ids that never were must leave nothing in the database.
 */
export class PassingReplies {
  readonly #runs = new Map<RunId, Map<string, Uint8Array>>()
  #count = 0

  /** Of all runs together. */
  get count(): number {
    return this.#count
  }

  /** Keeps the object of a reply. Of too many, the oldest of the run is dropped, or of the run that began to ask first. */
  keep(runId: RunId, objectId: string, content: Uint8Array): void {
    const objects = this.#runs.get(runId) ?? new Map<string, Uint8Array>()
    this.#runs.set(runId, objects)
    if (objects.size >= limits.repliesPerPullMax) this.#dropOldest(runId, objects)
    else if (this.#count >= limits.passingRepliesMax) this.#dropOldest(...(this.#runs.entries().next().value as Entry))
    if (!objects.has(objectId)) this.#count += 1
    objects.set(objectId, content)
    // Its last object may have been the oldest of all.
    this.#runs.set(runId, objects)
  }

  #dropOldest(runId: RunId, objects: Map<string, Uint8Array>): void {
    this.remove(runId, objects.keys().next().value as string)
  }

  find(runId: RunId, objectId: string): Uint8Array | undefined {
    return this.#runs.get(runId)?.get(objectId)
  }

  remove(runId: RunId, objectId: string): void {
    const objects = this.#runs.get(runId)
    if (!objects?.delete(objectId)) return
    this.#count -= 1
    if (objects.size === 0) this.#runs.delete(runId)
  }

  /** The run has ended. */
  forget(runId: RunId): void {
    this.#count -= this.#runs.get(runId)?.size ?? 0
    this.#runs.delete(runId)
  }
}
