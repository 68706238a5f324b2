import { sql } from 'kysely'
import { fitting } from '../db/column-limits.ts'
import type { Db } from '../db/database.ts'
import type { Row } from '../db/schema.ts'

/** Which objects messages name. */

export async function addParts(tx: Db, messageId: string, objectIds: readonly string[]): Promise<void> {
  await tx
    .insertInto('message_object')
    .values(objectIds.map((id) => fitting('message_object', { message_id: messageId, object_id: id })))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** A message can name a hundred thousand objects: they are deleted so many at a time, and other work goes on in between. */
const partsAtOnce = 2000

/** Some of the objects that these messages name. */
export function listParts(tx: Db, messageIds: readonly string[]): Promise<Row<'message_object'>[]> {
  const query = tx.selectFrom('message_object').selectAll().where('message_id', 'in', messageIds)
  return query.limit(sql.lit(partsAtOnce)).execute()
}

/** Deletes what `listParts` returned for these messages. */
export async function deleteParts(
  tx: Db,
  messageIds: readonly string[],
  parts: readonly Row<'message_object'>[],
): Promise<void> {
  if (parts.length < partsAtOnce) {
    await tx.deleteFrom('message_object').where('message_id', 'in', messageIds).execute()
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
