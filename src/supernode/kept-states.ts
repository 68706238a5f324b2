import { limits } from '../base/limits.ts'
import { recordBytes } from '../message/record-bytes.ts'
import type { RecordDict } from '../message/records.ts'

/** More states than this are not kept, however small they are. */
const statesMax = 64

/** Names the owner of a state: a series outlives its runs, and runs of Flower 1.29 have none. */
export function stateOwner({ runId, seriesId }: { readonly runId: bigint; readonly seriesId: bigint }): string {
  return seriesId === 0n ? `run ${runId}` : `series ${seriesId}`
}

/**
 * What ClientApps keep from message to message, bounded in number and bytes: an app may keep 64 MiB, and a node may work
 * for many runs.
 */
export class KeptStates {
  /** The state that was used least recently is the first. */
  readonly #states = new Map<string, { readonly state: RecordDict; readonly bytes: number }>()
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number = limits.nodeStateBytesMax) {
    this.#bytesMax = bytesMax
  }

  find(owner: string): RecordDict | undefined {
    return this.#states.get(owner)?.state
  }

  /** Returns the owners whose states had to be forgotten for this one. */
  keep(owner: string, state: RecordDict): string[] {
    this.forget(owner)
    const bytes = recordBytes(state)
    this.#states.set(owner, { state, bytes })
    this.#bytes += bytes
    const forgotten: string[] = []
    for (const oldest of this.#states.keys()) {
      if (oldest === owner || (this.#bytes <= this.#bytesMax && this.#states.size <= statesMax)) break
      this.forget(oldest)
      forgotten.push(oldest)
    }
    return forgotten
  }

  forget(owner: string): void {
    this.#bytes -= this.#states.get(owner)?.bytes ?? 0
    this.#states.delete(owner)
  }
}
