import { type LastWords, speakLastWords } from '../app-api/last-words.ts'
import { type TaskApi, TaskEndedError } from '../app-api/task-api.ts'
import type { AcquiredTask, TaskSource } from '../app-api/task-source.ts'
import { systemClock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { backoffMs } from '../base/retry.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { pauseMsAfter } from '../rpc/server-wait.ts'

/** How long the server may hold a heartbeat, and how often one is sent to a server that does not. */
const intervalMs = 20_000

/** How long a ClientApp works before its lease is prolonged: most have ended before, without a heartbeat. */
export const clientAppHeartbeatMs = 250

export interface TaskGuardOptions {
  readonly source: TaskSource
  readonly task: AcquiredTask
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
  #lastWords: LastWords | undefined
  #beating = false
  /** When the server last said that the task goes on. */
  heardAt = systemClock.now()

  constructor(options: TaskGuardOptions) {
    this.#options = options
    this.signal.addEventListener('abort', () => options.task.trace?.ended(), { once: true })
  }

  /** Aborted when the task is over for this program. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** A short task needs no heartbeat: `afterMs` is how long the first one waits. */
  keepAlive({ afterMs = 0 } = {}): void {
    if (!this.#beating) void this.#beat(afterMs)
    this.#beating = true
  }

  /** Whether the server has to be told in the app's own words that it died: the reply to its message. */
  get wantsLastWords(): boolean {
    const { source, task } = this.#options
    return source.needsLastWords && task.program === 'flwr-clientapp'
  }

  remember(words: LastWords): void {
    this.#lastWords = words
  }

  /** The task is over and was reported by the app itself. */
  release(): void {
    this.#stop.abort()
  }

  /** The process has ended. If the task is not over, it has failed, and the server is told at once. */
  end(outcome: string, details = `The app process ended before its task was done (${outcome}).`): void {
    this.#stop.abort()
    const { log, task } = this.#options
    if (this.wantsLastWords && !this.#lastWords) {
      log.debug('A ClientApp process ended without a word', { outcome, run: task.runId })
      return
    }
    const api = this.#open(AbortSignal.timeout(reportMs))
    const report = this.#lastWords
      ? this.#speak(api, this.#lastWords, details)
      : api.finish({ subStatus: 'failed', details, processLost: true })
    report.then(
      () => log.warn('An app process ended before its task was done', { outcome }),
      // The usual case: the app reported the end itself, and the token is good for nothing any more.
      (error: unknown) => log.debug('The end of an app is known already', { because: errorText(error) }),
    )
  }

  /** What an app process left may be damaged: then its task fails without it. */
  async #speak(api: TaskApi, words: LastWords, details: string): Promise<void> {
    try {
      await speakLastWords(api, words, details)
    } catch (error) {
      if (error instanceof TaskEndedError || error instanceof RpcError) throw error
      await api.finish({ subStatus: 'failed', details })
    }
  }

  async #beat(afterMs: number): Promise<void> {
    const { signal } = this.#stop
    if (afterMs > 0) await systemClock.sleep(afterMs, signal).catch(() => {})
    if (signal.aborted) return
    const api = this.#open(signal)
    let pauses = backoffMs()
    while (!signal.aborted) {
      try {
        const { success, waited } = await api.sendHeartbeat({ waitMs: intervalMs })
        if (!success) return this.#endProcess()
        this.heardAt = systemClock.now()
        pauses = backoffMs()
        if (!waited) await systemClock.sleep(intervalMs, signal)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof TaskEndedError) return this.#endProcess()
        const pauseMs = error instanceof RpcError ? pauseMsAfter(error, pauses) : pauses.next().value
        await systemClock.sleep(pauseMs, signal).catch(() => {})
      }
    }
  }

  #open(signal: AbortSignal): TaskApi {
    const { source, task } = this.#options
    return source.open(task, { log: undefined, signal })
  }

  /** An app that has just finished hands its process back in a moment; one that was stopped does not. */
  #endProcess(): void {
    systemClock.sleep(graceMs, this.#stop.signal).then(this.#options.kill, () => {})
  }
}

const graceMs = 500
const reportMs = 10_000
