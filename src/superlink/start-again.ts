import type { Clock } from '../base/clock.ts'
import { UsageError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

/**
 * Starts a SuperLink again that has served before and was taken over. Its files are read anew: if one of them is wrong by now,
 * tries again until the signal, because the operator can correct it while another SuperLink serves. Returns nothing after the
 * signal.
 */
export async function startAgain<T>(
  start: () => Promise<T | undefined>,
  { log, clock, signal }: { readonly log: Logger; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<T | undefined> {
  let logged = ''
  while (!signal.aborted) {
    try {
      return await start()
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      if (error.message !== logged) log.error(`${error.message} This SuperLink is no standby until it is corrected.`)
      logged = error.message
      await clock.sleep(pauseMs, signal).catch(() => {})
    }
  }
  return undefined
}

const pauseMs = 5000
