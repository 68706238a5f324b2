import { Bell } from '../../base/bell.ts'
import type { Clock } from '../../base/clock.ts'
import { limits } from '../../base/limits.ts'
import type { Logger } from '../../base/log.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import { BucketError } from './bucket-errors.ts'
import type { Action } from './bucket-requests.ts'

/** The kinds of requests to a bucket. */
type WatchedAction = Exclude<Action, 'list'>

const consequences: Readonly<Record<WatchedAction, string>> = {
  get: 'Until then large objects cannot be read.',
  put: 'Until then large objects cannot be stored.',
  delete: 'Until then objects that nothing needs stay there.',
}

/**
 * Tracks whether requests to the bucket succeed, and reports trouble to the operator. A bucket may refuse one kind of request
 * alone, e.g. uploads while it is full: only a success of the same kind ends the trouble.
 */
export class BucketWatch {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #throttle: LogThrottle
  readonly #changed = new Bell<'trouble' | 'ended'>()
  readonly #troubles = new Map<WatchedAction, { readonly reason: string; readonly since: number }>()
  #ended = 0

  constructor({ log, clock }: { readonly log: Logger; readonly clock: Clock }) {
    this.#log = log
    this.#clock = clock
    this.#throttle = new LogThrottle(clock)
  }

  /** Why objects cannot be stored or read, with the remedy; `undefined` while they can. */
  get trouble(): string | undefined {
    const trouble = this.#troubles.get('put') ?? this.#troubles.get('get')
    return trouble?.reason
  }

  isInTrouble(action: WatchedAction): boolean {
    return this.#troubles.has(action)
  }

  /** How many times the bucket has come out of trouble. */
  get ended(): number {
    return this.#ended
  }

  /** Runs work with the bucket, and records whether it succeeds. */
  async during<T>(action: WatchedAction, work: () => Promise<T>): Promise<T> {
    try {
      const result = await work()
      this.#noteGood(action)
      return result
    } catch (error) {
      if (error instanceof BucketError && error.isOutage) this.#noteTrouble(action, error.sentence)
      throw error
    }
  }

  /** Background job: while there is trouble, tries every few seconds whether it has ended. */
  async watch(probe: (action: WatchedAction) => Promise<unknown>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      using subscription = this.#changed.subscribe('trouble')
      if (this.#troubles.size === 0) {
        await subscription.wait(limits.idleLookMs, signal)
        continue
      }
      await this.#clock.sleep(limits.bucketProbeEveryMs, signal).catch(() => {})
      for (const action of [...this.#troubles.keys()])
        if (!signal.aborted) await this.during(action, () => probe(action)).catch(() => {})
    }
  }

  /** Waits until the bucket has come out of trouble more often than `before` times, or the signal is aborted. */
  async nextEnd(before: number, signal: AbortSignal): Promise<void> {
    using subscription = this.#changed.subscribe('ended')
    while (!signal.aborted && this.#ended === before) await subscription.wait(limits.idleLookMs, signal)
  }

  #noteGood(action: WatchedAction): void {
    const trouble = this.#troubles.get(action)
    if (!trouble) return
    this.#troubles.delete(action)
    if (this.#troubles.size > 0) return
    this.#ended += 1
    this.#changed.ring('ended')
    const seconds = Math.round((this.#clock.now() - trouble.since) / 1000)
    const fields = this.#throttle.admit('ended')
    if (fields) this.#log.info(`The object store responds again after ${seconds} s`, fields)
  }

  #noteTrouble(action: WatchedAction, reason: string): void {
    this.#troubles.set(action, { reason, since: this.#troubles.get(action)?.since ?? this.#clock.now() })
    const fields = this.#throttle.admit(`${action} ${reason}`)
    if (fields) this.#log.error(`${reason} ${consequences[action]}`, fields)
    this.#changed.ring('trouble')
  }
}
