import { sql } from 'kysely'
import type { Db } from '../db/database.ts'
import { type IdList, idsOf, idTable } from '../db/id-list.ts'
import type { Row } from '../db/schema.ts'
import { statement } from '../db/statement.ts'

/** Which objects messages name. */

const insertParts = statement<{ messageId: string; ids: IdList }, never>(
  (db, value) =>
    db
      .insertInto('message_object')
      .columns(['message_id', 'object_id'])
      .expression(
        db
          .selectFrom(idTable(value('ids')).as('ids'))
          .select([sql<string>`${value('messageId')}`.as('message_id'), 'ids.value'])
          // Otherwise SQLite would read ON CONFLICT as the condition of a join.
          .where(sql<boolean>`true`),
      )
      .onConflict((conflict) => conflict.doNothing()) as never,
)

export async function addParts(tx: Db, messageId: string, ids: IdList): Promise<void> {
  await insertParts(tx, { messageId, ids })
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
      sql<boolean>`(message_id, object_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(${JSON.stringify(pairs)}))`,
    )
    .execute()
}
