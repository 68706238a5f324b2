import type { Drain } from '../rpc/drain.ts'
import type { Listener } from '../rpc/listener.ts'
import type { SuperlinkContext } from './context.ts'

/** Takes no more calls. Those that are held return at once; the others, such as transfers, have so long to complete. */
export async function completeCalls(
  { log }: Pick<SuperlinkContext, 'log'>,
  drain: Drain,
  listeners: readonly Pick<Listener, 'drain'>[],
  drainMs: number,
): Promise<void> {
  if (drainMs === 0) return
  const what = `up to ${drainMs / 1000} s to complete. A second SIGTERM ends at once`
  log.info(`SIGTERM: takes no more calls; those under way have ${what}`, { calls: drain.describe() })
  drain.begin()
  const isComplete = await Promise.all(listeners.map((listener) => listener.drain(drainMs)))
  if (isComplete.includes(false))
    log.warn('Ends although calls are under way: their callers repeat them at the next start', {
      calls: drain.describe(),
    })
}
