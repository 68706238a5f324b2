import { type ExpressionBuilder, sql } from 'kysely'
import type { Db } from '../../db/database.ts'
import { type IdList, idsOf, inBatches } from '../../db/id-list.ts'
import { notIndexed } from '../../db/planner.ts'
import type { Tables } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'
import type { Metadata } from '../../message/message.ts'
import { inState, toMetadata } from './message-rows.ts'
import { type SentRow, sentColumns } from './message-store.ts'

/** Queries of messages that wait for objects. */

const selectWhole = statement<{ ids: IdList }, { message_id: string }>((db, value) =>
  db
    .selectFrom('message')
    .select('message_id')
    .where('message_id', 'in', idsOf(value('ids')))
    .where(({ not, exists, selectFrom }) => not(exists(missingObjects(selectFrom)))),
)

/** Returns the messages that wait for no object. */
export async function listWhole(db: Db, ids: readonly string[]): Promise<string[]> {
  const whole: string[] = []
  for (const some of inBatches(ids))
    whole.push(...(await selectWhole(db, { ids: some })).rows.map((row) => row.message_id))
  return whole
}

const selectCompleted = statement<{ ids: IdList }, SentRow>((db, value) =>
  db
    .selectFrom('message_object as part')
    .innerJoin('message', 'message.message_id', 'part.message_id')
    .select(sentColumns.map((column) => `message.${column}` as const))
    .where('part.object_id', 'in', idsOf(value('ids')))
    .where(({ eb, ref }) => eb(notIndexed(ref('message.state')), '=', inState('announced')))
    // The root is usually sent last: a model that thousands of messages share comes when none of theirs is here. The term
    // names `part` alone, so that it is asked before the message is looked up.
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('object as root')
            .select('root.object_id')
            .whereRef('root.object_id', '=', 'part.message_id')
            .where('root.available', '=', sql.lit(0)),
        ),
      ),
    )
    .where(({ not, exists, selectFrom }) => not(exists(missingObjects(selectFrom)))),
)

/** The announced messages that have some of these objects and all their others. */
export async function listCompletedBy(db: Db, objectIds: readonly string[]): Promise<Metadata[]> {
  const completed = new Map<string, Metadata>()
  for (const ids of inBatches(objectIds))
    for (const row of (await selectCompleted(db, { ids })).rows) completed.set(row.message_id, toMetadata(row))
  return [...completed.values()]
}

type SelectFrom = ExpressionBuilder<Tables, 'message'>['selectFrom']

function missingObjects(selectFrom: SelectFrom) {
  return selectFrom('message_object')
    .innerJoin('object', 'object.object_id', 'message_object.object_id')
    .select('message_object.object_id')
    .whereRef('message_object.message_id', '=', 'message.message_id')
    .where('object.available', '=', sql.lit(0))
}
