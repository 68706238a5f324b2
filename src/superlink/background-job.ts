import { errorText } from '../base/errors.ts'
import { isStorageFull } from '../base/full-disk.ts'
import type { SuperlinkContext } from './context.ts'

/** A background job that fails is logged, and started again after a pause: the server goes on. */
export async function runJob(
  ctx: Pick<SuperlinkContext, 'log' | 'clock'>,
  name: string,
  job: () => Promise<void>,
): Promise<void> {
  for (;;) {
    try {
      return await job()
    } catch (error) {
      // The full disk is reported once a minute by itself.
      if (!isStorageFull(error)) ctx.log.error(`The ${name} failed and is started again`, { error: errorText(error) })
      await ctx.clock.sleep(1000)
    }
  }
}
