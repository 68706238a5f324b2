import { sql } from 'kysely'
import { fitting } from '../db/column-limits.ts'
import type { Db } from '../db/database.ts'
import { type IdList, idList, idsOf, idTable } from '../db/id-list.ts'
import { rowInserter } from '../db/insert-rows.ts'
import type { Row } from '../db/schema.ts'
import { statement } from '../db/statement.ts'
import type { CarriedObject } from './carried-objects.ts'

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

const findInFile = statement<{ id: string }, { in_file: number }>((db, value) =>
  db
    .selectFrom('object')
    .select(sql<number>`available = 1 AND content IS NULL`.as('in_file'))
    .where('object_id', '=', value('id')),
)

/** Whether the content is here, and not in its row. */
export async function isInFile(db: Db, id: string): Promise<boolean> {
  return (await findInFile(db, { id })).rows[0]?.in_file === 1
}

/** Some of the objects whose content is here, and not in its row; none if there are none. */
export async function listSomeInFiles(db: Db): Promise<string[]> {
  const inFiles = db
    .selectFrom('object')
    .select('object_id')
    .where('available', '=', sql.lit(1))
    .where('content', 'is', null)
  return (await inFiles.limit(sql.lit(10)).execute()).map((row) => row.object_id)
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

const listKnown = statement<{ ids: IdList }, { object_id: string; available: number }>((db, value) =>
  db
    .selectFrom('object')
    .select(['object_id', 'available'])
    .where('object_id', 'in', idsOf(value('ids'))),
)

/** Those of these objects that are known, and whether the content of each is here. */
async function findAvailability(db: Db, ids: IdList): Promise<ReadonlyMap<string, boolean>> {
  return new Map((await listKnown(db, { ids })).rows.map((row) => [row.object_id, row.available === 1]))
}

const insertContents = rowInserter('object', ['object_id', 'available', 'size', 'type', 'content'], (insert) =>
  insert.onConflict((conflict) =>
    conflict
      .column('object_id')
      .doUpdateSet(({ ref }) => ({
        available: ref('excluded.available'),
        size: ref('excluded.size'),
        type: ref('excluded.type'),
        content: ref('excluded.content'),
      }))
      .where('object.available', '=', sql.lit(0)),
  ),
)

/** Stores objects with their contents, whether they were announced before or not. */
async function storeContents(tx: Db, objects: readonly CarriedObject[]): Promise<void> {
  const rows = objects.map(({ id, type, bytes }) => {
    return { object_id: id, available: 1, size: bytes.length, type, content: bytes }
  })
  await insertContents(tx, rows)
}

const listContents = statement<{ ids: IdList }, { object_id: string; content: Uint8Array | null }>((db, value) =>
  db
    .selectFrom('object')
    .select(['object_id', 'content'])
    .where('object_id', 'in', idsOf(value('ids')))
    .where('available', '=', sql.lit(1)),
)

/** The contents of those of these objects that are here; `undefined` for one in a file. */
export async function findContents(db: Db, ids: IdList): Promise<ReadonlyMap<string, Uint8Array | undefined>> {
  return new Map((await listContents(db, { ids })).rows.map((row) => [row.object_id, row.content ?? undefined]))
}

const listSizes = statement<{ ids: IdList }, { object_id: string; size: number }>((db, value) =>
  db
    .selectFrom('object')
    .select(['object_id', 'size'])
    .where('object_id', 'in', idsOf(value('ids')))
    .where('available', '=', sql.lit(1)),
)

/** The sizes of those of these objects that are here. */
export async function findSizes(db: Db, ids: IdList): Promise<ReadonlyMap<string, number>> {
  return new Map((await listSizes(db, { ids })).rows.map((row) => [row.object_id, row.size]))
}

/** Stores objects that came with their messages. Returns those that were announced before and whose content was missing. */
export async function storeCarried(tx: Db, came: readonly CarriedObject[]): Promise<string[]> {
  const known = await findAvailability(tx, idList(came.map(({ id }) => id).toSorted()))
  const absent = came.filter(({ id }) => known.get(id) !== true)
  if (absent.length > 0) await storeContents(tx, absent)
  return absent.flatMap(({ id }) => (known.has(id) ? id : []))
}

const listTypes = statement<{ ids: IdList }, { object_id: string; is_chunk: number }>((db, value) =>
  db
    .selectFrom('object')
    .select(['object_id', sql<number>`type IS NOT DISTINCT FROM 'ArrayChunk'`.as('is_chunk')])
    .where('object_id', 'in', idsOf(value('ids')))
    .where('available', '=', sql.lit(1)),
)

/** Those of these objects that are here, and whether each is a chunk of an array. */
export async function listChunks(db: Db, ids: IdList): Promise<{ id: string; isChunk: boolean }[]> {
  return (await listTypes(db, { ids })).rows.map((row) => ({ id: row.object_id, isChunk: row.is_chunk === 1 }))
}

const deleteFree = statement<{ ids: IdList }, { object_id: string; is_file: number }>((db, value) =>
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
    .returning(['object_id', sql<number>`available = 1 AND content IS NULL`.as('is_file')]),
)

/** Deletes those of these objects that no message names. Returns them, and which of them are files. */
export async function deleteUnnamed(tx: Db, ids: IdList): Promise<readonly { id: string; isFile: boolean }[]> {
  return (await deleteFree(tx, { ids })).rows.map((row) => ({ id: row.object_id, isFile: Number(row.is_file) === 1 }))
}
