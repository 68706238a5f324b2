import { lookAgain } from '../../base/bell.ts'
import type { SuperlinkContext } from '../context.ts'
import { eventJson } from './event-log.ts'
import * as eventStore from './event-store.ts'

export interface EventPage {
  /** Position of the oldest event that is kept: those before it are forgotten. */
  readonly oldest: number
  /** In their order; JSON. */
  readonly events: readonly { readonly position: number; readonly json: string }[]
}

/**
 * Yields the events after a position, and then, if it follows, further ones as they happen. The first page may be empty: it
 * tells the follower what is kept. A position after the last event belongs to a database that is gone: all events follow.
 *
 * @param scope called before each page: what the follower may see now. Throws if that is nothing any more.
 */
export async function* followEvents(
  { db, bells }: Pick<SuperlinkContext, 'db' | 'bells'>,
  { after, follows, scope }: { after: number; follows: boolean; scope: () => eventStore.EventScope },
  signal: AbortSignal,
): AsyncGenerator<EventPage> {
  let seen = after
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    const look = async () => {
      const { first, last } = await eventStore.range(db.read)
      return isFirst || last > seen ? { first, last } : undefined
    }
    const found = await lookAgain(bells.events, 'events', look, { waitMs: follows ? 30_000 : 0, signal })
    // Also after a wait without news: the certificate of the follower may be refused since.
    const visible = scope()
    if (!found) {
      if (follows) continue
      return
    }
    const { first, last } = found
    if (isFirst && last < seen) seen = 0
    const events = await eventStore.list(db.read, { after: seen, until: last, scope: visible })
    const isWhole = events.length < eventStore.eventsPerPage
    seen = isWhole ? Math.max(last, seen) : (events.at(-1)?.position ?? last)
    if (isFirst || events.length > 0)
      yield { oldest: first, events: events.map((event) => ({ position: event.position, json: eventJson(event) })) }
    if (isWhole && !follows) return
  }
}
