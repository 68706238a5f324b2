import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { systemClock } from '../base/clock.ts'
import { backoffMs } from '../base/retry.ts'
import { Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { type CallOptions, type Channel, RpcError } from '../rpc/channel.ts'
import type { AppLog } from './app-log.ts'

/** How long an app waits for its SuperLink or SuperNode to come back before it gives up. */
const patienceMs = 30 * 60_000

/**
 * The Runtime API as one task sees it: every call carries the task's token, and is tried again while the server cannot
 * be reached. What is waited for is said once, and again when it is back.
 */
export class RuntimeClient {
  readonly #channel: Channel
  readonly #token: string
  readonly #log: AppLog
  readonly signal: AbortSignal

  constructor(options: { channel: Channel; token: string; log: AppLog; signal: AbortSignal }) {
    this.#channel = options.channel
    this.#token = options.token
    this.#log = options.log
    this.signal = options.signal
  }

  async call<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: Pick<CallOptions, 'waitMs'> = {},
  ): Promise<{ message: MessageShape<O>; waited: boolean }> {
    const pauses = backoffMs()
    const startedAt = systemClock.now()
    let troubled = false
    for (;;) {
      try {
        const answer = await this.#channel.call(method, request, {
          ...options,
          signal: this.signal,
          headers: { 'flwr-task-token': this.#token },
        })
        if (troubled) this.#log.info('Connection successful again')
        return answer
      } catch (error) {
        this.signal.throwIfAborted()
        if (!(error instanceof RpcError) || !error.retryable || systemClock.now() - startedAt > patienceMs) throw error
        if (!troubled) this.#log.warn(`Waiting for the server: ${error.message}`)
        troubled = true
        await systemClock.sleep(pauses.next().value, this.signal)
      }
    }
  }
}

/** Whether the server has ended this task: its token is good for nothing any more. */
export function isTaskEnded(error: unknown): boolean {
  return error instanceof RpcError && error.status === 'unauthenticated'
}

export const { method: runtime } = Runtime
