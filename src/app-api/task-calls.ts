import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { systemClock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { backoffMs } from '../base/retry.ts'
import type { WireStatus } from '../base/wire-status.ts'
import { type CallOptions, type Channel, RpcError } from '../rpc/channel.ts'
import { type Held, TaskEndedError } from './task-api.ts'

/** How long an app waits for its SuperLink or SuperNode to come back before it gives up. */
const patienceMs = 30 * 60_000
/** A call without an answer for longer than this beyond what it may be held is made again on a new connection. */
const answerMs = 60_000

export interface TaskCallsOptions {
  readonly channel: Channel
  readonly token: string
  /** Where waiting for the server is told of; absent when somebody else does. */
  readonly log: Logger | undefined
  readonly signal: AbortSignal
}

/**
 * Calls that carry a task's token. Each is tried again while the server cannot be reached; what is waited for is said once,
 * and again when it is back.
 */
export class TaskCalls {
  readonly #options: TaskCallsOptions
  readonly #tokenHeader: string
  readonly #endedBy: readonly WireStatus[]
  #troubled = false

  /** `endedBy` are the statuses by which this generation of servers says that a task is over. */
  constructor(options: TaskCallsOptions, how: { tokenHeader: string; endedBy: readonly WireStatus[] }) {
    this.#options = options
    this.#tokenHeader = how.tokenHeader
    this.#endedBy = how.endedBy
  }

  /** One line for all calls that wait at the same time, and one when the server is back. */
  #waiting(error: RpcError): void {
    if (!this.#troubled) this.#options.log?.warn(`Waiting for the server: ${error.message}`)
    this.#troubled = true
  }

  #recovered(): void {
    if (this.#troubled) this.#options.log?.info('Connection successful again')
    this.#troubled = false
  }

  get signal(): AbortSignal {
    return this.#options.signal
  }

  get token(): string {
    return this.#options.token
  }

  async call<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: Pick<CallOptions, 'waitMs' | 'signal'> = {},
  ): Promise<Held<MessageShape<O>>> {
    const { channel, token } = this.#options
    const signal = options.signal ? AbortSignal.any([this.signal, options.signal]) : this.signal
    const pauses = backoffMs()
    const startedAt = systemClock.now()
    for (;;) {
      try {
        const { message, waited } = await channel.call(method, request, {
          ...options,
          signal,
          timeoutMs: answerMs + (options.waitMs ?? 0),
          headers: { [this.#tokenHeader]: token },
        })
        this.#recovered()
        return { ...message, waited }
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof RpcError)) throw error
        if (error.kind === 'peer' && this.#endedBy.includes(error.status))
          throw new TaskEndedError(error.message, { cause: error })
        const lost = error.status === 'deadline-exceeded'
        if (lost) channel.reconnect()
        if ((!lost && !error.retryable) || systemClock.now() - startedAt > patienceMs) throw error
        this.#waiting(error)
        await systemClock.sleep(pauses.next().value, signal)
      }
    }
  }
}
