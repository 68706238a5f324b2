import { sql } from 'kysely'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'

/** Queries of the `outbox` table: events that the receiver of the webhook has not accepted yet. No other file writes it. */

export interface Delivery {
  readonly position: number
  readonly eventId: string
  /** The event as it is sent. */
  readonly body: string
  readonly attempts: number
  readonly queuedAt: number
}

export async function insert(
  tx: Db,
  { position, eventId, body, queuedAt }: Pick<Delivery, 'position' | 'eventId' | 'body' | 'queuedAt'>,
): Promise<void> {
  await tx
    .insertInto('outbox')
    .values(
      fitting('outbox', { position, event_id: eventId, body, attempts: 0, queued_at: queuedAt, due_at: queuedAt }),
    )
    .execute()
}

/** The delivery that has waited longest for its next attempt. */
export async function findNext(
  db: Db,
  dueUntil = Number.MAX_SAFE_INTEGER,
): Promise<(Delivery & { readonly dueAt: number }) | undefined> {
  const row = await db
    .selectFrom('outbox')
    .selectAll()
    // True of all of them: without a condition, SQLite's plan is a scan that is told from one of a whole table by nothing.
    .where('due_at', '<=', dueUntil)
    .orderBy('due_at')
    .orderBy('position')
    .limit(sql.lit(1))
    .executeTakeFirst()
  if (!row) return undefined
  const { position, event_id: eventId, body, attempts, queued_at: queuedAt, due_at: dueAt } = row
  return { position, eventId, body, attempts, queuedAt, dueAt }
}

export async function remove(tx: Db, position: number): Promise<void> {
  await tx.deleteFrom('outbox').where('position', '=', position).execute()
}

/** The next attempt is due at this instant. */
export async function postpone(tx: Db, position: number, dueAt: number): Promise<void> {
  await tx
    .updateTable('outbox')
    .set(({ eb, ref }) => ({ attempts: eb(ref('attempts'), '+', 1), due_at: dueAt }))
    .where('position', '=', position)
    .execute()
}

export async function count(db: Db): Promise<number> {
  const row = await db
    .selectFrom('outbox')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirst()
  return Number(row?.count ?? 0)
}

/** Gives up what was queued before an instant. Returns how many deliveries that were. */
export async function removeQueuedBefore(tx: Db, at: number): Promise<number> {
  const { numDeletedRows } = await tx.deleteFrom('outbox').where('queued_at', '<', at).executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}

/** Gives up all but the newest deliveries. Returns how many that were. */
export async function keepNewest(tx: Db, kept: number): Promise<number> {
  const newest = await tx
    .selectFrom('outbox')
    .select(({ fn }) => fn.max('position').as('position'))
    .executeTakeFirst()
  // Every event is queued, so there are at most as many deliveries as positions.
  const last = (newest?.position ?? 0) - kept
  const { numDeletedRows } = await tx.deleteFrom('outbox').where('position', '<=', last).executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}
