import type { Clock } from '../base/clock.ts'
import { UsageError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { backoffMs } from '../base/retry.ts'
import { waitingHelps } from '../rpc/call-failures.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { pauseMsAfter, ServerWait } from '../rpc/server-wait.ts'

export interface ServerTroubleOptions {
  /** Of the server that hands out tasks. */
  readonly address: string
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

/** Tries again while waiting can help. */
export class ServerTrouble {
  readonly #options: ServerTroubleOptions
  readonly #wait: ServerWait
  /** Whether the server has responded before. */
  #hasWorked = false

  constructor(options: ServerTroubleOptions) {
    this.#options = options
    this.#wait = new ServerWait({ server: options.address, ...options })
  }

  /**
   * Returns `undefined` when the program ends. Rejects with a failure that waiting does not help. `isRetry` asks for a call that
   * is not held, so that its response shows at once that the server is back.
   */
  async overcome<T>(ask: (attempt: { isRetry: boolean }) => Promise<T>): Promise<T | undefined> {
    const { clock, signal } = this.#options
    const pauses = backoffMs()
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        const answer = await ask({ isRetry: tries > 0 })
        this.#hasWorked = true
        this.#wait.over()
        return answer
      } catch (error) {
        if (signal.aborted) return undefined
        if (!(error instanceof RpcError) || !waitingHelps(error.failure, { tries, hasWorked: this.#hasWorked }))
          throw this.#explain(error)
        const pauseMs = pauseMsAfter(error, pauses)
        this.#wait.failed(error, pauseMs)
        await clock.sleep(pauseMs, signal).catch(() => {})
      }
    }
    return undefined
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof RpcError)) return error
    const refused = `${this.#options.address} does not accept this SuperExec (${error.message})`
    const secret = `${refused}: give the file with the server's secret as --superexec-auth-secret-file.`
    return new UsageError(error.status === 'unauthenticated' ? secret : error.message, { cause: error })
  }
}
