import { Bell, type Subscription } from '../../base/bell.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { expiresAt, type SentMessage } from './message-store.ts'

/** What a waiter looks at next: messages, or everything that it waits for. */
export interface ReplyNews {
  readonly ids: readonly string[]
  /** A message has come that replies to nothing. */
  readonly isUnprompted: boolean
  readonly isEverything: boolean
}

/**
 * The calls of ServerApps that wait for replies. Each is notified with the ids of the messages that it should look at, and not
 * at all of those that it does not wait for. Called after commit.
 */
export class ReplyWaiters {
  readonly #waiters = new Map<RunId, Set<ReplyWaiter>>()

  /** @param ids of the messages whose replies are waited for; every message of the run if it is undefined. */
  subscribe(runId: RunId, ids?: readonly string[]): ReplyWaiter {
    const ofRun = this.#waiters.get(runId) ?? new Set()
    const waiter = new ReplyWaiter(ids && new Set(ids), () => {
      ofRun.delete(waiter)
      if (ofRun.size === 0 && this.#waiters.get(runId) === ofRun) this.#waiters.delete(runId)
    })
    this.#waiters.set(runId, ofRun.add(waiter))
    return waiter
  }

  /** The reply to a message is whole, or a message that replies to nothing. */
  arrived(runId: RunId, replyToMessageId: string): void {
    for (const waiter of this.#waiters.get(runId) ?? []) waiter.note(replyToMessageId)
  }

  /** Messages were sent. Their nodes may be away. */
  sent(runId: RunId, messageIds: readonly string[]): void {
    for (const waiter of this.#waiters.get(runId) ?? []) for (const id of messageIds) waiter.note(id)
  }

  /** These nodes have gone: what they were asked for may get no reply. */
  nodesGone(nodeIds: readonly NodeId[]): void {
    const gone = new Set<bigint>(nodeIds)
    for (const waiter of this.#all()) waiter.doubt(({ metadata }) => gone.has(metadata.dstNodeId))
  }

  /** Messages that expire until this instant get no reply. */
  expired(now: number): void {
    for (const waiter of this.#all()) waiter.doubt((sent) => expiresAt(sent) <= now)
  }

  /** The run has ended. */
  ended(runId: RunId): void {
    for (const waiter of this.#waiters.get(runId) ?? []) waiter.noteEverything()
  }

  /** The SuperLink stops. */
  ringAll(): void {
    for (const waiter of this.#all()) waiter.noteEverything()
  }

  *#all(): Generator<ReplyWaiter> {
    for (const ofRun of this.#waiters.values()) yield* ofRun
  }
}

/** One call that waits. */
export class ReplyWaiter implements Disposable {
  readonly #wanted: ReadonlySet<string> | undefined
  readonly #onEnd: () => void
  readonly #bell = new Bell<'news'>()
  readonly #subscription: Subscription = this.#bell.subscribe('news')
  /** Messages without a reply, once the waiter has looked at them. */
  readonly #open = new Map<string, SentMessage>()
  #ids = new Set<string>()
  #isUnprompted = false
  #isEverything = false

  constructor(wanted: ReadonlySet<string> | undefined, onEnd: () => void) {
    this.#wanted = wanted
    this.#onEnd = onEnd
  }

  /** The waiter has looked at these messages, and found no reply. */
  expect(sent: readonly SentMessage[]): void {
    for (const one of sent) this.#open.set(one.metadata.messageId, one)
  }

  note(messageId: string): void {
    if (this.#wanted && !this.#wanted.has(messageId)) return
    if (messageId === '') this.#isUnprompted = true
    else this.#ids.add(messageId)
    this.#bell.ring('news')
  }

  doubt(isDoubtful: (sent: SentMessage) => boolean): void {
    for (const [id, sent] of this.#open) if (isDoubtful(sent)) this.note(id)
  }

  noteEverything(): void {
    this.#isEverything = true
    this.#bell.ring('news')
  }

  /** Resolves at the next news, after `ms`, or when the signal is aborted. */
  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#subscription.wait(ms, signal)
  }

  /** Returns the news since the last call. */
  take(): ReplyNews {
    const news = { ids: [...this.#ids], isUnprompted: this.#isUnprompted, isEverything: this.#isEverything }
    for (const id of this.#ids) this.#open.delete(id)
    this.#ids = new Set()
    this.#isUnprompted = false
    this.#isEverything = false
    return news
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]()
    this.#onEnd()
  }
}
