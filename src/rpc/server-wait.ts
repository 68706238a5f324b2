import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { RpcError } from './rpc-error.ts'

export interface ServerWaitOptions {
  /** For the log, e.g. `the SuperLink`. */
  readonly server: string
  readonly clock: Pick<Clock, 'now'>
  /** Absent in a program whose launcher writes the log. */
  readonly log: Logger | undefined
}

/** How long the log is silent about a wait that goes on for the same reason. */
const silentMs = 30_000

/**
 * Logs what a program waits for: one line at the first failure, one for each new reason, one every 30 seconds, and one at the
 * end. All calls of a program share it.
 */
export class ServerWait {
  readonly #options: ServerWaitOptions
  #since: number | undefined
  #saidAt = 0
  #reason = ''

  constructor(options: ServerWaitOptions) {
    this.#options = options
  }

  /** A call failed, and is tried again after a pause. */
  failed({ message }: RpcError, pauseMs: number): void {
    const { server, log, clock } = this.#options
    const now = clock.now()
    const isFirst = this.#since === undefined
    this.#since ??= now
    if (!isFirst && message === this.#reason && now - this.#saidAt < silentMs) return
    this.#reason = message
    this.#saidAt = now
    if (isFirst) {
      log?.warn(`Waiting for ${server}: ${message}`)
      return
    }
    log?.info(`Still waiting for ${server}, since ${new Date(this.#since).toISOString()}`, {
      forSeconds: Math.round((now - this.#since) / 1000),
      nextTryInMs: Math.round(pauseMs),
      because: message,
    })
  }

  /** The server responded. */
  over(): void {
    if (this.#since === undefined) return
    const { server, log, clock } = this.#options
    log?.info(`${server.replace(/^./, (first) => first.toUpperCase())} answers again`, {
      afterSeconds: Math.round((clock.now() - this.#since) / 1000),
    })
    this.#since = undefined
  }
}

/**
 * Returns the pause before the next try. A busy server says how long to wait; half as long again at random keeps its clients
 * from coming back together. Without such a word the pauses of `backoffMs` hold.
 */
export function pauseMsAfter(
  { retryAfterMs }: RpcError,
  pauses: Iterator<number, unknown>,
  random: () => number = Math.random,
): number {
  const pauseMs = pauses.next().value as number
  return retryAfterMs === undefined ? pauseMs : retryAfterMs * (1 + random() / 2)
}
