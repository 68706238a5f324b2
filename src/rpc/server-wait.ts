import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { CallFailure } from './call-failures.ts'
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
const reasonsMax = 20

/**
 * Logs what a program waits for: one line at the first failure, one for each new reason, one for each reason every 30 seconds,
 * and one at the end. All calls of a program share it, and their failures may take turns.
 */
export class ServerWait {
  readonly #options: ServerWaitOptions
  #since: number | undefined
  /** When each reason was logged last. */
  readonly #saidAt = new Map<string, number>()

  constructor(options: ServerWaitOptions) {
    this.#options = options
  }

  /** A call failed, and is tried again after a pause. */
  failed({ message }: RpcError, pauseMs: number): void {
    const { server, log, clock } = this.#options
    const now = clock.now()
    const isFirst = this.#since === undefined
    this.#since ??= now
    const saidAt = this.#saidAt.get(this.#key(message))
    if (saidAt !== undefined && now - saidAt < silentMs) return
    this.#saidAt.set(this.#key(message), now)
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

  /** Reasons beyond a limit share one place. */
  #key(reason: string): string {
    return this.#saidAt.has(reason) || this.#saidAt.size < reasonsMax ? reason : ''
  }

  /** The server responded. Returns whether it was waited for. */
  over(): boolean {
    if (this.#since === undefined) return false
    const { server, log, clock } = this.#options
    log?.info(`${server.replace(/^./, (first) => first.toUpperCase())} responds again`, {
      afterSeconds: Math.round((clock.now() - this.#since) / 1000),
    })
    this.#since = undefined
    this.#saidAt.clear()
    return true
  }
}

/** Failures of tries that cost almost nothing: no program listens at the address, or the name is gone with its container. */
const cheapFailures: ReadonlySet<CallFailure> = new Set(['connection-refused', 'name-unknown'])

/** The pause after a cheap try, up to twice as long at random. SuperNodes may be thousands, other programs are few. */
export const cheapPauseMs = { few: 500, many: 1000 } as const

/**
 * Returns the pause before the next try. A busy server says how long to wait; half as long again at random keeps its clients
 * from coming back together. While tries are cheap the pauses are short and do not grow, so that the program is there when
 * the server is. Otherwise the pauses of `backoffMs` hold.
 */
export function pauseMsAfter(
  { failure, retryAfterMs }: Pick<RpcError, 'failure' | 'retryAfterMs'>,
  pauses: Iterator<number, unknown>,
  { cheapMs = cheapPauseMs.few, random = Math.random }: { cheapMs?: number; random?: () => number } = {},
): number {
  if (retryAfterMs !== undefined) return retryAfterMs * (1 + random() / 2)
  if (cheapFailures.has(failure)) return cheapMs * (1 + random())
  return pauses.next().value as number
}
