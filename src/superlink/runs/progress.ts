import type { RunId } from '../../base/ids.ts'
import type { MessageError } from '../../message/message.ts'
import { AppLoads } from './app-loads.ts'
import { RunWaits } from './waits.ts'

export interface ReplyCounts {
  readonly asked: number
  readonly replied: number
  readonly failed: number
}

const noReplies: ReplyCounts = { asked: 0, replied: 0, failed: 0 }

/**
 * Counts the replies that the messages of a run have, for programs that watch it. Messages that are pushed when all earlier ones have
 * been answered begin a new phase. In memory: a restart begins a phase too.
 */
export class RunProgress {
  readonly appLoads = new AppLoads()
  readonly waits = new RunWaits()
  readonly #counts = new Map<RunId, ReplyCounts>()

  of(runId: RunId): ReplyCounts {
    return this.#counts.get(runId) ?? noReplies
  }

  asked(runId: RunId, count: number): void {
    this.waits.foundNodes(runId)
    const { asked, replied, failed } = this.of(runId)
    this.#counts.set(
      runId,
      replied >= asked ? { ...noReplies, asked: count } : { asked: asked + count, replied, failed },
    )
  }

  replied(runId: RunId, error: MessageError | undefined): void {
    const counts = this.of(runId)
    this.#counts.set(runId, { ...counts, replied: counts.replied + 1, failed: counts.failed + (error ? 1 : 0) })
    this.appLoads.replied(runId, error)
  }

  /** A reply that was counted will not come after all. */
  withdrawn(runId: RunId, count: number): void {
    const counts = this.#counts.get(runId)
    if (counts) this.#counts.set(runId, { ...counts, replied: Math.max(0, counts.replied - count) })
  }

  forget(runId: RunId): void {
    this.#counts.delete(runId)
    this.appLoads.forget(runId)
    this.waits.forget(runId)
  }
}
