import { setTimeout as delay } from 'node:timers/promises'

/** Time as a dependency, so that tests can drive it. */
export interface Clock {
  /** Epoch milliseconds, with a fraction. */
  now(): number
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now() + systemDriftMs(),
  sleep: (ms, signal) => delay(Math.max(0, ms), undefined, signal ? { signal } : {}),
}

/** `performance.now()` is monotonic and misses corrections of the wall clock: follow them when they exceed a second. */
function systemDriftMs(): number {
  const drift = Date.now() - (performance.timeOrigin + performance.now())
  return Math.abs(drift) > 1000 ? drift : 0
}

/** The instant as Python's `datetime.isoformat()` writes it in UTC, always with six digits of fraction. */
export function isoTimestamp(epochMs: number): string {
  const micros = Math.round(epochMs * 1000)
  const ms = Math.floor(micros / 1000)
  const rest = String(micros - ms * 1000).padStart(3, '0')
  return `${new Date(ms).toISOString().slice(0, -1)}${rest}+00:00`
}
