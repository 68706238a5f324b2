import { errorText } from '../base/errors.ts'
import { isStorageFull } from '../base/full-disk.ts'
import { LogThrottle } from '../base/log-throttle.ts'
import type { SuperlinkContext } from './context.ts'

/**
 * Runs a background job until it returns. If it fails, it is started again after a pause: the server continues. Of failures
 * that repeat, as while a database cannot be reached, one a minute is logged.
 */
export async function runJob(
  ctx: Pick<SuperlinkContext, 'log' | 'clock'>,
  name: string,
  job: () => Promise<void>,
): Promise<void> {
  const throttle = new LogThrottle(ctx.clock)
  for (;;) {
    try {
      return await job()
    } catch (error) {
      const text = errorText(error)
      // The full disk is reported once a minute by itself.
      const fields = isStorageFull(error) ? undefined : throttle.admit(text)
      if (fields) ctx.log.error(`The ${name} failed and is started again`, { error: text, ...fields })
      await ctx.clock.sleep(1000)
    }
  }
}
