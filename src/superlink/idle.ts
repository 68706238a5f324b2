import type { Clock } from '../base/clock.ts'
import type { Interceptor } from '../rpc/interceptor.ts'
import type { Tasks } from '../tasks/tasks.ts'

/** Notices that this SuperLink is idle: no run is under way, and no command has called for a while. */
export class IdleWatch {
  readonly #tasks: Pick<Tasks, 'haveWork'>
  readonly #clock: Clock
  readonly #idleMs: number
  #lastUsedAt: number

  constructor(options: { tasks: Pick<Tasks, 'haveWork'>; clock: Clock; idleMs: number }) {
    this.#tasks = options.tasks
    this.#clock = options.clock
    this.#idleMs = options.idleMs
    this.#lastUsedAt = options.clock.now()
  }

  /** Counts calls of the service with this name as use. */
  interceptor(service: string): Interceptor {
    return {
      onHead: (_head, called) => {
        if (called.service === service) this.#lastUsedAt = this.#clock.now()
      },
    }
  }

  /** Resolves when this SuperLink has been idle for long enough, or at the signal. */
  async wait(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const restMs = this.#lastUsedAt + this.#idleMs - this.#clock.now()
      if (restMs <= 0) {
        if (!(await this.#tasks.haveWork())) return
        this.#lastUsedAt = this.#clock.now()
      }
      await this.#clock.sleep(Math.max(restMs, 1000), signal).catch(() => {})
    }
  }
}
