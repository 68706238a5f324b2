import { systemClock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { backoffMs } from '../base/retry.ts'
import { Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { type Channel, RpcError } from '../rpc/channel.ts'

/** How long the server may hold a heartbeat, and how often one is sent to a server that does not. */
const intervalMs = 20_000

export interface TaskGuardOptions {
  readonly channel: Channel
  readonly token: string
  readonly log: Logger
  /** Ends the process of the task. */
  readonly kill: () => void
}

/**
 * Looks after one task while a process runs it. The heartbeats come from here because an app may compute for minutes
 * without a pause. A task that the server has ended takes its process with it; a process that ends takes its task with it.
 */
export class TaskGuard {
  readonly #options: TaskGuardOptions
  readonly #stop = new AbortController()

  constructor(options: TaskGuardOptions) {
    this.#options = options
  }

  keepAlive(): void {
    void this.#beat()
  }

  /** The task is over and was reported by the app itself. */
  release(): void {
    this.#stop.abort()
  }

  /** The process has ended. When the task is not over, it failed: whoever waits for it hears of it now. */
  end(outcome: string, details = `The app process ended before its task was done (${outcome}).`): void {
    this.#stop.abort()
    const { channel, token, log } = this.#options
    channel
      .call(
        Runtime.method.pushTaskOutput,
        { subStatus: 'failed', details },
        { headers: { 'flwr-task-token': token }, timeoutMs: 10_000 },
      )
      .then(
        () => log.warn('An app process ended before its task was done', { outcome }),
        // The usual case: the app reported the end itself, and the token is good for nothing any more.
        () => {},
      )
  }

  async #beat(): Promise<void> {
    const { channel, token, kill } = this.#options
    const { signal } = this.#stop
    let pauses = backoffMs()
    while (!signal.aborted) {
      try {
        const { message, waited } = await channel.call(
          Runtime.method.sendTaskHeartbeat,
          {},
          { headers: { 'flwr-task-token': token }, waitMs: intervalMs, signal },
        )
        pauses = backoffMs()
        if (!message.success) return this.#endProcess(kill)
        if (!waited) await systemClock.sleep(intervalMs, signal).catch(() => {})
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof RpcError && error.status === 'unauthenticated') return this.#endProcess(kill)
        await systemClock.sleep(pauses.next().value, signal).catch(() => {})
      }
    }
  }

  /** An app that has just finished hands its process back in a moment; one that was stopped does not. */
  #endProcess(kill: () => void): void {
    systemClock.sleep(graceMs, this.#stop.signal).then(kill, () => {})
  }
}

const graceMs = 500
