import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { type Clock, systemClock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { backoffMs } from '../base/retry.ts'
import type { WireStatus } from '../base/wire-status.ts'
import { waitingHelps } from '../rpc/call-failures.ts'
import { type CallOptions, type Channel, RpcError } from '../rpc/channel.ts'
import { pauseMsAfter, ServerWait } from '../rpc/server-wait.ts'
import { type Held, TaskEndedError } from './task-api.ts'

/** How long an app waits for its SuperLink or SuperNode to come back before it gives up. */
const patienceMs = 30 * 60_000
/** A call without an answer for longer than this beyond what it may be held is made again on a new connection. */
const answerMs = 60_000

export interface TaskCallsOptions {
  readonly channel: Channel
  readonly token: string
  /** Where waiting for the server is logged; absent if another part of the program does that. */
  readonly log: Logger | undefined
  readonly signal: AbortSignal
  /** Another one than the system's, for tests. */
  readonly clock?: Clock
}

/**
 * Calls that carry a task's token. Each is tried again while the server cannot be reached; what is waited for is said once,
 * and again when it is back.
 */
export class TaskCalls {
  readonly #options: TaskCallsOptions
  readonly #tokenHeader: string
  readonly #endedBy: readonly WireStatus[]
  readonly #wait: ServerWait
  /** Whether the server has responded to a call of this task. */
  #hasWorked = false

  /** `endedBy` are the statuses by which this generation of servers says that a task is over. */
  constructor(options: TaskCallsOptions, generation: { tokenHeader: string; endedBy: readonly WireStatus[] }) {
    this.#options = options
    this.#wait = new ServerWait({ server: 'the server', clock: systemClock, ...options })
    this.#tokenHeader = generation.tokenHeader
    this.#endedBy = generation.endedBy
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
    options: Pick<CallOptions, 'waitMs' | 'signal' | 'sinkFor'> = {},
  ): Promise<Held<MessageShape<O>>> {
    const { channel, token, clock = systemClock } = this.#options
    const signal = options.signal ? AbortSignal.any([this.signal, options.signal]) : this.signal
    const pauses = backoffMs()
    const startedAt = clock.now()
    for (let tries = 0; ; tries++) {
      try {
        const { message, waited } = await channel.call(method, request, {
          ...options,
          signal,
          timeoutMs: answerMs + (options.waitMs ?? 0),
          headers: { [this.#tokenHeader]: token },
        })
        this.#hasWorked = true
        this.#wait.over()
        return { ...message, waited }
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof RpcError)) throw error
        if (error.kind === 'peer' && this.#endedBy.includes(error.status))
          throw new TaskEndedError(error.message, { cause: error })
        const lost = error.status === 'deadline-exceeded'
        if (lost) channel.reconnect()
        const isPassing = waitingHelps(error.failure, { tries, hasWorked: this.#hasWorked })
        if (!isPassing || clock.now() - startedAt > patienceMs) throw error
        const pauseMs = pauseMsAfter(error, pauses)
        this.#wait.failed(error, pauseMs)
        await clock.sleep(pauseMs, signal)
      }
    }
  }
}
