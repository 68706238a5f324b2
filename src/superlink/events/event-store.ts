import { sql } from 'kysely'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import type { Row } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'
import { isOwnedBy, type RunOwners } from '../runs/run-store.ts'

/** Queries of the `event` table. No other file writes it. */

export interface StoredEvent {
  /** Grows with each event: the cursor of programs that follow them. */
  readonly position: number
  readonly eventId: string
  readonly at: number
  readonly type: string
  /** JSON */
  readonly data: string
}

export type NewEvent = Omit<StoredEvent, 'position'> & {
  /** Set if the event is about a run. */
  readonly owner: { readonly aid: string; readonly organization: string } | undefined
}

/** The events of the runs of these owners, or also those that are about no run. */
export type EventScope = RunOwners | 'everything'

type InsertedRow = Omit<Row<'event'>, 'position'>

const insertRow = statement<InsertedRow, { position: number }>((db, value) =>
  db
    .insertInto('event')
    .values(
      fitting('event', {
        event_id: value('event_id'),
        at: value('at'),
        type: value('type'),
        owner_aid: value('owner_aid'),
        owner_organization: value('owner_organization'),
        data: value('data'),
      }),
    )
    .returning('position'),
)

export async function insert(tx: Db, { eventId, at, type, owner, data }: NewEvent): Promise<StoredEvent> {
  const { rows } = await insertRow(tx, {
    event_id: eventId,
    at,
    type,
    owner_aid: owner?.aid ?? null,
    owner_organization: owner?.organization ?? null,
    data,
  })
  const [{ position }] = rows as [{ position: number }]
  return { position, eventId, at, type, data }
}

/** The positions of the first and the last event that are kept; 0 if there is none. */
export async function range(db: Db): Promise<{ first: number; last: number }> {
  const first = await db
    .selectFrom('event')
    .select(({ fn }) => fn.min('position').as('at'))
    .executeTakeFirst()
  const last = await db
    .selectFrom('event')
    .select(({ fn }) => fn.max('position').as('at'))
    .executeTakeFirst()
  return { first: first?.at ?? 0, last: last?.at ?? 0 }
}

export const eventsPerPage = 500

/** The oldest events (`eventsPerPage` at most) after one position up to another within a scope. */
export async function list(
  db: Db,
  { after, until, scope }: { after: number; until: number; scope: EventScope },
): Promise<StoredEvent[]> {
  let query = db
    .selectFrom('event')
    .selectAll()
    .where('position', '>', after)
    .where('position', '<=', until)
    .orderBy('position')
    .limit(sql.lit(eventsPerPage))
  if (scope === 'all') query = query.where('owner_aid', 'is not', null)
  else if (scope !== 'everything') query = query.where(isOwnedBy('event', scope))
  return (await query.execute()).map(toEvent)
}

/** Forgets events up to this position. */
export async function forgetUpTo(tx: Db, position: number): Promise<void> {
  await tx.deleteFrom('event').where('position', '<=', position).execute()
}

/** The position of the last event before an instant; 0 if there is none. */
export async function lastBefore(db: Db, at: number): Promise<number> {
  const row = await db
    .selectFrom('event')
    .select('position')
    .where('at', '<', at)
    .orderBy('at', 'desc')
    // Of several at one instant, PostgreSQL returns any of them otherwise.
    .orderBy('position', 'desc')
    .limit(sql.lit(1))
    .executeTakeFirst()
  return row?.position ?? 0
}

/** When the last event before an instant happened; `undefined` if there is none. */
export async function timeBefore(db: Db, at: number): Promise<number | undefined> {
  const row = await db
    .selectFrom('event')
    .select('at')
    .where('at', '<', at)
    .orderBy('at', 'desc')
    .limit(sql.lit(1))
    .executeTakeFirst()
  return row?.at
}

function toEvent(row: Row<'event'>): StoredEvent {
  return { position: row.position, eventId: row.event_id, at: row.at, type: row.type, data: row.data }
}
