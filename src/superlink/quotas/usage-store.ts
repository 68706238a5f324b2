import { sql } from 'kysely'
import type { NodeId, RunId } from '../../base/ids.ts'
import { byDialect } from '../../db/by-dialect.ts'
import type { Db } from '../../db/database.ts'
import { statement } from '../../db/statement.ts'

/** Counts what runs and SuperNodes take, by the indexes of messages and objects. */

const runBytes = statement<{ runId: RunId }, { bytes: number | null }>((db, value) =>
  db
    .selectFrom('object')
    .select(({ fn }) => fn.sum<number | null>('size').as('bytes'))
    .where('object_id', 'in', ({ selectFrom }) =>
      selectFrom('message')
        .innerJoin('message_object', 'message_object.message_id', 'message.message_id')
        .select('message_object.object_id')
        .where('message.run_id', '=', value('runId')),
    ),
)

/** Bytes of the objects that the messages of this run name. */
export async function countRunBytes(db: Db, runId: RunId): Promise<number> {
  return Number((await runBytes(db, { runId })).rows[0]?.bytes ?? 0)
}

const nodeBytes = statement<{ nodeId: NodeId }, { bytes: number | null }>((db, value) =>
  db
    .selectFrom('object')
    .select(({ fn }) => fn.sum<number | null>('size').as('bytes'))
    .where('object_id', 'in', ({ selectFrom }) =>
      selectFrom('message')
        .innerJoin('message_object', 'message_object.message_id', 'message.message_id')
        .select('message_object.object_id')
        .where('message.src_node_id', '=', value('nodeId')),
    ),
)

/** Bytes of the objects of messages that this SuperNode has sent. */
export async function countNodeBytes(db: Db, nodeId: NodeId): Promise<number> {
  return Number((await nodeBytes(db, { nodeId })).rows[0]?.bytes ?? 0)
}

const runObjects = statement<{ runId: RunId }, { count: number }>((db, value) =>
  db
    .selectFrom('message')
    .innerJoin('message_object', 'message_object.message_id', 'message.message_id')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('message.run_id', '=', value('runId')),
)

/** How many objects the messages of this run name, counted once for each message. */
export async function countRunObjects(db: Db, runId: RunId): Promise<number> {
  return Number((await runObjects(db, { runId })).rows[0]?.count ?? 0)
}

/** Bytes of all objects in files. Others are part of the database. */
export async function countFileBytes(db: Db): Promise<number> {
  const row = await db
    .selectFrom('object')
    .select(({ fn }) => fn.sum<number | null>('size').as('bytes'))
    .where(sql<boolean>`available = 1 AND content IS NULL`)
    .executeTakeFirst()
  return Number(row?.bytes ?? 0)
}

/** Bytes of the database; in SQLite without pages that are free to be used again. */
export async function countDatabaseBytes(db: Db): Promise<number> {
  return Number((await databaseBytes(db, {})).rows[0]?.bytes ?? 0)
}

const databaseBytes = statement<object, { bytes: number }>((db) =>
  db.selectNoFrom(
    byDialect<number>({
      sqlite: sql<number>`(SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size())`,
      postgres: sql<number>`pg_database_size(current_database())`,
    }).as('bytes'),
  ),
)
