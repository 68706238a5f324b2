import type { Clock } from '../base/clock.ts'
import type { Service } from '../rpc/call.ts'
import type { Tasks } from '../tasks/tasks.ts'

/** Notices that nobody needs this SuperLink: no run is under way, and no command has called for a while. */
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

  /** The same service, whose calls count as use. */
  watched(service: Service): Service {
    return {
      ...service,
      authenticate: (call, method, request) => {
        this.#lastUsedAt = this.#clock.now()
        return service.authenticate(call, method, request)
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
