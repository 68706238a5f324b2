import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { MessageError } from '../../message/message.ts'
import type { TaskSubStatus } from '../../tasks/task.ts'
import { NodeWork, type WorkSpan } from './node-work.ts'
import { ReplyOutcomes } from './reply-outcomes.ts'
import { RunWaits } from './waits.ts'

export interface ReplyCounts {
  readonly asked: number
  readonly replied: number
  readonly failed: number
}

const noReplies: ReplyCounts = { asked: 0, replied: 0, failed: 0 }
const noPhase = { count: 0, label: '' } as const

/** When a node was asked, fetched the message, and replied. */
type Answered = Pick<WorkSpan, 'nodeId' | 'messageId' | 'askedAt' | 'fetchedAt' | 'repliedAt'> & {
  readonly messageType: string
}

export interface TracedRound {
  readonly round: number
  readonly startedAt: number
  readonly endedAt: number
}

/** Hears of what happens in runs, for metrics and traces. */
export interface RunObserver {
  /** A node has replied, so many seconds after it had received the message. */
  readonly replied: (seconds: number, result: 'content' | 'error') => void
  readonly roundEnded: (seconds: number) => void
  /** A node, or the SuperLink in its place, has replied to a message. */
  readonly worked: (runId: RunId, span: WorkSpan) => void
  /** As `roundEnded`, with the round; instants are epoch milliseconds. */
  readonly roundTraced: (runId: RunId, round: TracedRound) => void
  readonly finished: (result: TaskSubStatus) => void
  /** So many bytes were sent to nodes and received from them. */
  readonly moved: (sent: number, received: number) => void
}

export const unobserved: RunObserver = {
  replied() {},
  roundEnded() {},
  worked() {},
  roundTraced() {},
  finished() {},
  moved() {},
}

/**
 * Counts the replies that the messages of a run have, for programs that watch it. Messages that are pushed when all earlier ones have
 * been answered begin a new phase. In memory: a restart begins a phase too.
 */
export class RunProgress {
  readonly outcomes = new ReplyOutcomes()
  readonly waits = new RunWaits()
  readonly work = new NodeWork()
  readonly #counts = new Map<RunId, ReplyCounts>()
  readonly #phases = new Map<RunId, { readonly count: number; readonly label: string }>()
  readonly #rounds = new Map<RunId, { readonly round: number; readonly startedAt: number }>()
  readonly #observer: RunObserver

  constructor(observer: RunObserver = unobserved) {
    this.#observer = observer
  }

  of(runId: RunId): ReplyCounts {
    return this.#counts.get(runId) ?? noReplies
  }

  asked(runId: RunId, count: number): void {
    this.waits.foundNodes(runId)
    const { asked, replied, failed } = this.of(runId)
    const { count: phases, label } = this.#phases.get(runId) ?? noPhase
    if (replied >= asked) this.#phases.set(runId, { count: phases + 1, label })
    this.#counts.set(
      runId,
      replied >= asked ? { ...noReplies, asked: count } : { asked: asked + count, replied, failed },
    )
  }

  #replied(runId: RunId, error: MessageError | undefined, messageType: string): void {
    const counts = this.of(runId)
    this.#counts.set(runId, { ...counts, replied: counts.replied + 1, failed: counts.failed + (error ? 1 : 0) })
    this.outcomes.replied(runId, messageType, error)
  }

  /** A node has replied to a message. */
  nodeReplied(runId: RunId, error: MessageError | undefined, answered: Answered): void {
    const { askedAt, fetchedAt = askedAt, repliedAt } = answered
    this.#note(runId, error, answered)
    this.#replied(runId, error, answered.messageType)
    this.#observer.replied(Math.max(0, repliedAt - fetchedAt) / 1000, error ? 'error' : 'content')
  }

  /** The SuperLink has replied in the place of a node. */
  failedInPlaceOf(runId: RunId, error: MessageError, answered: Answered): void {
    this.#note(runId, error, answered)
    this.#replied(runId, error, answered.messageType)
  }

  #note(runId: RunId, error: MessageError | undefined, { messageType: _, ...answered }: Answered): void {
    const { count: phase, label } = this.#phases.get(runId) ?? noPhase
    const span = { ...answered, phase, label, failed: error !== undefined }
    this.work.answered(runId, span)
    this.#observer.worked(runId, span)
  }

  /** The app says where it is. A round that began before this SuperLink was started is not measured. */
  reported(runId: RunId, { round, phase }: { readonly round: number; readonly phase: string }, now: number): void {
    const known = this.#rounds.get(runId)
    const { count } = this.#phases.get(runId) ?? noPhase
    this.#phases.set(runId, { count, label: `round ${round} ${phase.slice(0, limits.workPhaseCharactersMax)}` })
    if (known?.round === round && phase === 'round-end') {
      this.#observer.roundEnded(Math.max(0, now - known.startedAt) / 1000)
      this.#observer.roundTraced(runId, { ...known, endedAt: now })
      this.#rounds.delete(runId)
    } else if (known?.round !== round && phase === 'configure') this.#rounds.set(runId, { round, startedAt: now })
  }

  finished(runId: RunId, result: TaskSubStatus): void {
    this.#observer.finished(result)
    this.forget(runId)
  }

  /** A reply to this message that was counted will not come after all. */
  withdrawn(
    runId: RunId,
    error: MessageError | undefined,
    { messageId, messageType }: Pick<Answered, 'messageId' | 'messageType'>,
  ): void {
    this.work.withdrawn(runId, messageId)
    this.outcomes.withdrawn(runId, messageType, error)
    const counts = this.#counts.get(runId)
    if (!counts) return
    const { asked, replied, failed } = counts
    this.#counts.set(runId, {
      asked,
      replied: Math.max(0, replied - 1),
      failed: Math.max(0, failed - (error ? 1 : 0)),
    })
  }

  forget(runId: RunId): void {
    this.restarted(runId)
    this.outcomes.forget(runId)
  }

  /** The ServerApp starts again and asks anew. The replies that came before it was lost still say whether the app is of use. */
  restarted(runId: RunId): void {
    this.#counts.delete(runId)
    this.#rounds.delete(runId)
    this.#phases.delete(runId)
    this.waits.forget(runId)
  }
}
