import type { AppProgram } from '../app-api/task-api.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'

const everyProgram: readonly AppProgram[] = ['flwr-serverapp', 'flwr-clientapp']

/** Bounds the app processes of a SuperExec: tasks beyond the limits wait at the server. */
export class AppRoom {
  readonly #log: Logger
  #wasFull = false

  constructor(log: Logger) {
    this.#log = log
  }

  /** Returns the programs of which another process may start, if so many processes run, and so many of them are ServerApps. */
  programs(running: { readonly apps: number; readonly serverApps: number }): readonly AppProgram[] {
    const isFull = running.apps >= limits.appProcessesMax
    const hasServerApps = running.serverApps >= limits.serverAppsMax
    if ((isFull || hasServerApps) && !this.#wasFull)
      this.#log.warn('As many apps run as this SuperExec may start: further ones wait until others end', running)
    this.#wasFull = isFull || hasServerApps
    if (isFull) return []
    return hasServerApps ? ['flwr-clientapp'] : everyProgram
  }
}
