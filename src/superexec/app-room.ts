import type { AppProgram } from '../app-api/task-api.ts'
import type { Clock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { LogThrottle } from '../base/log-throttle.ts'

const everyProgram: readonly AppProgram[] = ['flwr-serverapp', 'flwr-clientapp']

/** Bounds the app processes of a SuperExec: tasks beyond the limits wait at the server. */
export class AppRoom {
  readonly #log: Logger
  readonly #throttle: LogThrottle

  constructor(log: Logger, clock?: Pick<Clock, 'now'>) {
    this.#log = log
    this.#throttle = new LogThrottle(clock)
  }

  /** Returns the programs of which another process may start, if so many processes run, and so many of them are ServerApps. */
  programs(running: { readonly apps: number; readonly serverApps: number }): readonly AppProgram[] {
    const isFull = running.apps >= limits.appProcessesMax
    const hasServerApps = running.serverApps >= limits.serverAppsMax
    if (isFull || hasServerApps) {
      const [what, limit] = isFull ? ['apps', limits.appProcessesMax] : ['ServerApps', limits.serverAppsMax]
      const fields = this.#throttle.admit(`${what}`)
      if (fields)
        this.#log.warn(
          `As many ${what} run as this SuperExec may start (${limit}): further ones wait until others end`,
          {
            ...running,
            ...fields,
          },
        )
    }
    if (isFull) return []
    return hasServerApps ? ['flwr-clientapp'] : everyProgram
  }
}
