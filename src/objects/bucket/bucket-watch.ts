import { Bell } from '../../base/bell.ts'
import type { Clock } from '../../base/clock.ts'
import { limits } from '../../base/limits.ts'
import type { Logger } from '../../base/log.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import { BucketError } from './bucket-errors.ts'

/** Knows whether the bucket does what it is asked, and reports that to the operator. */
export class BucketWatch {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #throttle: LogThrottle
  readonly #changed = new Bell<'trouble'>()
  #trouble: { readonly reason: string; readonly since: number } | undefined

  constructor({ log, clock }: { readonly log: Logger; readonly clock: Clock }) {
    this.#log = log
    this.#clock = clock
    this.#throttle = new LogThrottle(clock)
  }

  /** Why objects cannot be stored or read, with the remedy; `undefined` while they can. */
  get trouble(): string | undefined {
    return this.#trouble && capitalized(this.#trouble.reason)
  }

  /** Runs work with the bucket, and takes note of how it ends. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work()
      this.#noteGood()
      return result
    } catch (error) {
      if (error instanceof BucketError && error.isOutage) this.#noteTrouble(error.message)
      throw error
    }
  }

  /** Background job: while there is trouble, asks again and again whether it has ended. */
  async watch(probe: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      using subscription = this.#changed.subscribe('trouble')
      if (!this.#trouble) {
        await subscription.wait(limits.idleLookMs, signal)
        continue
      }
      await this.#clock.sleep(limits.bucketProbeEveryMs, signal).catch(() => {})
      if (!signal.aborted) await this.during(probe).catch(() => {})
    }
  }

  #noteGood(): void {
    if (!this.#trouble) return
    const seconds = Math.round((this.#clock.now() - this.#trouble.since) / 1000)
    this.#trouble = undefined
    this.#log.info(`The object store responds again after ${seconds} s`)
  }

  #noteTrouble(reason: string): void {
    this.#trouble = { reason, since: this.#trouble?.since ?? this.#clock.now() }
    const fields = this.#throttle.admit(reason)
    if (fields) this.#log.error(`${capitalized(reason)} Until then large objects cannot be stored or read.`, fields)
    this.#changed.ring('trouble')
  }
}

/** Reasons begin with the URL of the bucket. */
function capitalized(reason: string): string {
  return reason.startsWith('s3:') ? `The object store ${reason}` : reason
}
