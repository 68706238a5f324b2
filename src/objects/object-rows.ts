import { sql } from 'kysely'
import { fitting } from '../db/column-limits.ts'
import type { Db } from '../db/database.ts'
import { type IdList, idsOf, idTable } from '../db/id-list.ts'
import type { Row } from '../db/schema.ts'
import { statement } from '../db/statement.ts'

/** Queries of the `object` table, compiled once. Only the object store writes the table. */

export interface ObjectRow {
  readonly available: number
  readonly size: number
  readonly content: Uint8Array | null
}

const find = statement<{ id: string }, ObjectRow>((db, value) =>
  db.selectFrom('object').select(['available', 'size', 'content']).where('object_id', '=', value('id')),
)

export async function findObject(db: Db, id: string): Promise<ObjectRow | undefined> {
  return (await find(db, { id })).rows[0]
}

const findAvailable = statement<{ id: string }, { available: number }>((db, value) =>
  db.selectFrom('object').select('available').where('object_id', '=', value('id')),
)

/** Whether the content is here; `undefined` if the object is unknown. */
export async function isAvailable(db: Db, id: string): Promise<boolean | undefined> {
  const row = (await findAvailable(db, { id })).rows[0]
  return row && row.available === 1
}

const insertAnnounced = statement<{ ids: IdList }, never>(
  (db, value) =>
    db
      .insertInto('object')
      .columns(['object_id', 'available', 'size', 'type', 'content'])
      .expression(
        db
          .selectFrom(idTable(value('ids')).as('ids'))
          .select(['ids.value', sql.lit(0).as('available'), sql.lit(0).as('size')])
          .select([sql.lit(null).as('type'), sql.lit(null).as('content')])
          // Otherwise SQLite would read ON CONFLICT as the condition of a join.
          .where(sql<boolean>`true`),
      )
      .onConflict((conflict) => conflict.doNothing()) as never,
)

const listAbsent = statement<{ ids: IdList }, { object_id: string }>((db, value) =>
  db
    .selectFrom('object')
    .select('object_id')
    .where('object_id', 'in', idsOf(value('ids')))
    .where('available', '=', sql.lit(0)),
)

/** Announces objects. Returns those whose content is missing. */
export async function announceObjects(tx: Db, ids: IdList): Promise<Set<string>> {
  await insertAnnounced(tx, { ids })
  return new Set((await listAbsent(tx, { ids })).rows.map((row) => row.object_id))
}

export type StoredContent = Pick<Row<'object'>, 'size' | 'type' | 'content'>

const setContent = statement<StoredContent & { id: string }, never>(
  (db, value) =>
    db
      .updateTable('object')
      .set(
        fitting('object', {
          available: 1,
          size: value('size'),
          type: value('type'),
          content: value('content'),
        }),
      )
      .where('object_id', '=', value('id')) as never,
)

/** Returns whether the object is still announced. */
export async function storeContent(tx: Db, id: string, stored: StoredContent): Promise<boolean> {
  return (await setContent(tx, { ...stored, id })).numAffectedRows !== 0n
}

const listTypes = statement<{ ids: IdList }, { object_id: string; is_chunk: number }>((db, value) =>
  db
    .selectFrom('object')
    .select(['object_id', sql<number>`type IS 'ArrayChunk'`.as('is_chunk')])
    .where('object_id', 'in', idsOf(value('ids')))
    .where('available', '=', sql.lit(1)),
)

/** Those of these objects that are here, and whether each is a chunk of an array. */
export async function listChunks(db: Db, ids: IdList): Promise<{ id: string; isChunk: boolean }[]> {
  return (await listTypes(db, { ids })).rows.map((row) => ({ id: row.object_id, isChunk: row.is_chunk === 1 }))
}

const deleteFree = statement<{ ids: IdList }, { object_id: string; size: number }>((db, value) =>
  db
    .deleteFrom('object')
    .where('object_id', 'in', idsOf(value('ids')))
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('message_object')
            .select('message_id')
            .whereRef('message_object.object_id', '=', 'object.object_id'),
        ),
      ),
    )
    .returning(['object_id', 'size']),
)

/** Deletes those of these objects that no message names. Returns them. */
export async function deleteUnnamed(tx: Db, ids: IdList): Promise<readonly { object_id: string; size: number }[]> {
  return (await deleteFree(tx, { ids })).rows
}
