import type { Clock } from './clock.ts'
import { limits } from './limits.ts'
import type { Logger } from './log.ts'

export interface SteadyTimeOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Milliseconds of a clock that never jumps; tests replace it. */
  readonly monotonicNow?: () => number
}

/**
 * Judges leases and heartbeats while the clock of the machine jumps: a wrong clock was set right, or the machine slept. After
 * a jump forwards no lease may end because of it, and after one backwards none may last for hours. So `now` goes on as if
 * there had been no jump, or follows it backwards, until the watch has begun all leases anew.
 */
export class SteadyTime {
  readonly #options: SteadyTimeOptions
  readonly #monotonicNow: () => number
  /** The clock minus the monotonic one, as of the last look without a jump. */
  #offset: number

  constructor(options: SteadyTimeOptions) {
    this.#options = options
    this.#monotonicNow = options.monotonicNow ?? (() => performance.now())
    this.#offset = options.clock.now() - this.#monotonicNow()
  }

  /** The instant by which leases are judged. */
  now(): number {
    const now = this.#options.clock.now()
    return Math.abs(this.#jump()) < limits.clockJumpMs ? now : Math.min(now, now - this.#jump())
  }

  /** Background job. `onJump` begins all leases anew; if it fails, it is tried again at the next look. */
  async watch(onJump: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options
    while (!signal.aborted) {
      await clock.sleep(limits.clockLookEveryMs, signal).catch(() => {})
      if (signal.aborted) return
      const jump = this.#jump()
      if (Math.abs(jump) >= limits.clockJumpMs) {
        const seconds = Math.round(Math.abs(jump) / 1000)
        log.warn(
          `The clock of this machine has jumped ${seconds} s ${jump > 0 ? 'forwards' : 'backwards'}: apps and SuperNodes get a whole lease to send the next heartbeat`,
        )
        if (
          !(await onJump().then(
            () => true,
            () => false,
          ))
        )
          continue
      }
      // Also the small steps by which a clock is corrected.
      this.#offset += jump
    }
  }

  #jump(): number {
    return this.#options.clock.now() - this.#monotonicNow() - this.#offset
  }
}
