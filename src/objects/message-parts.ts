import { sql } from 'kysely'
import type { Db } from '../db/database.ts'
import { type IdList, idsOf, jsonField, jsonTable } from '../db/id-list.ts'
import { rowInserter } from '../db/insert-rows.ts'
import type { Row } from '../db/schema.ts'
import { statement } from '../db/statement.ts'

/** Which objects messages name. */

const insertParts = rowInserter('message_object', ['message_id', 'object_id'], (insert) =>
  insert.onConflict((conflict) => conflict.doNothing()),
)

/** Messages name objects. In the order of the keys, so that each page of the table is changed once. */
export async function addParts(tx: Db, parts: readonly Row<'message_object'>[]): Promise<void> {
  await insertParts(tx, parts)
}

/** A message can name a hundred thousand objects: they are deleted so many at a time, and other work goes on in between. */
const partsAtOnce = 2000

const listSome = statement<{ ids: IdList }, Row<'message_object'>>((db, value) =>
  db
    .selectFrom('message_object')
    .selectAll()
    .where('message_id', 'in', idsOf(value('ids')))
    .limit(sql.lit(partsAtOnce)),
)

/** Some of the objects that these messages name. */
export async function listParts(tx: Db, messageIds: IdList): Promise<readonly Row<'message_object'>[]> {
  return (await listSome(tx, { ids: messageIds })).rows
}

/** Whether `listParts` may have returned fewer objects than there are. */
export function mayHaveMore(parts: readonly Row<'message_object'>[]): boolean {
  return parts.length === partsAtOnce
}

const deleteAll = statement<{ ids: IdList }, never>(
  (db, value) => db.deleteFrom('message_object').where('message_id', 'in', idsOf(value('ids'))) as never,
)

/** Deletes what `listParts` returned for these messages. */
export async function deleteParts(tx: Db, messageIds: IdList, parts: readonly Row<'message_object'>[]): Promise<void> {
  if (!mayHaveMore(parts)) {
    await deleteAll(tx, { ids: messageIds })
    return
  }
  const pairs = parts.map((part) => [part.message_id, part.object_id])
  await tx
    .deleteFrom('message_object')
    .where(
      sql<boolean>`(message_id, object_id) IN (SELECT ${jsonField('pair', 0)}, ${jsonField('pair', 1)} FROM ${jsonTable(JSON.stringify(pairs))} AS pair)`,
    )
    .execute()
}
