import { limits } from '../../base/limits.ts'
import type { SuperlinkContext } from '../context.ts'
import * as eventStore from './event-store.ts'

const everyMs = 60_000

type Ctx = Pick<SuperlinkContext, 'db' | 'clock'>

/** Background job: forgets old events, so that the table does not grow for ever. */
export async function watchOldEvents(ctx: Ctx, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await forgetOldEvents(ctx)
    await ctx.clock.sleep(everyMs, signal).catch(() => {})
  }
}

/** Keeps the newest events of the last days. The last one stays, so that positions never start again. */
export async function forgetOldEvents({ db, clock }: Ctx): Promise<void> {
  const { first, last } = await eventStore.range(db.read)
  const old = await eventStore.lastBefore(db.read, clock.now() - limits.eventKeptMs)
  const upTo = Math.min(Math.max(old, last - limits.eventsKeptMax), last - 1)
  if (upTo < first || first === 0) return
  await db.transaction((tx) => eventStore.forgetUpTo(tx, upTo))
}
