import { isNotStored } from '../../base/full-disk.ts'
import type { RunId } from '../../base/ids.ts'
import type { Database } from '../../db/database.ts'
import { type RunObserver, unobserved } from './progress.ts'
import * as runStore from './run-store.ts'

interface Counts {
  sent: number
  received: number
  clientappSeconds: number
}

/**
 * What a run has moved over the Fleet API. Counted in memory and written in batches: a count must not cost a commit a
 * call. A crash loses at most the counts of the last moments.
 */
export class Traffic {
  readonly #db: Database
  readonly #onMoved: RunObserver['moved']
  readonly #pending = new Map<RunId, Counts>()
  #timer: NodeJS.Timeout | undefined
  #written: Promise<unknown> = Promise.resolve()

  constructor(db: Database, { moved }: Pick<RunObserver, 'moved'> = unobserved) {
    this.#db = db
    this.#onMoved = moved
  }

  add(runId: RunId, counts: Partial<Counts>): void {
    this.#add(runId, counts)
    this.#onMoved(counts.sent ?? 0, counts.received ?? 0)
    this.#timer ??= setTimeout(() => void this.flush().catch(() => {}), 1000).unref()
  }

  #add(runId: RunId, counts: Partial<Counts>): void {
    const sum = this.#pending.get(runId) ?? { sent: 0, received: 0, clientappSeconds: 0 }
    sum.sent += counts.sent ?? 0
    sum.received += counts.received ?? 0
    sum.clientappSeconds += counts.clientappSeconds ?? 0
    this.#pending.set(runId, sum)
  }

  /** Resolves when everything that was counted before is written, also by a flush that had begun. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = [...this.#pending]
    this.#pending.clear()
    const earlier = this.#written
    if (batch.length === 0) return void (await earlier)
    const written = this.#db.transaction(async (tx) => {
      for (const [runId, counts] of batch) await runStore.addTraffic(tx, runId, counts)
    })
    this.#written = Promise.allSettled([earlier, written])
    await written.catch((error) => {
      // They are written with the next counts. If only the response of the commit was lost, they are counted twice.
      if (!isNotStored(error)) throw error
      for (const [runId, counts] of batch) this.#add(runId, counts)
    })
    await earlier
  }
}
