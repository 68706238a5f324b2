import type { SupernodeContext } from './context.ts'

/**
 * Waits until every instruction that is being executed is replied to, at most `drainMs`. Instructions that have not been
 * started, and those that take too long, stay at the SuperLink: they come again at the next start of this node.
 */
export async function completeWork({
  config: { drainMs },
  clock,
  log,
  room,
  signal,
  work,
}: Pick<SupernodeContext, 'config' | 'clock' | 'log' | 'room' | 'signal' | 'work'>): Promise<void> {
  const endsAt = clock.now() + drainMs
  let isReported = false
  while (!signal.aborted) {
    using changed = room.subscribe('room')
    const open = work.list().filter(({ state }) => state !== 'waiting')
    if (open.length === 0) return
    const runs = [...new Set(open.map(({ runId }) => runId))].join(' ')
    const what = open.length === 1 ? 'one message' : `${open.length} messages`
    if (!isReported)
      log.info(
        `SIGTERM: takes no more messages, and has up to ${drainMs / 1000} s to reply to ${what}. A second SIGTERM ends at once`,
        { runs },
      )
    isReported = true
    const restMs = endsAt - clock.now()
    if (restMs <= 0)
      return log.warn(`Ends without a reply to ${what}: the SuperLink keeps them for the next start of this node`, {
        runs,
      })
    await Promise.race([changed.wait(restMs, signal), clock.sleep(restMs, signal).catch(() => {})])
  }
}
