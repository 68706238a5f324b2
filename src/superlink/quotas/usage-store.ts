import { type SelectQueryBuilder, sql } from 'kysely'
import type { NodeId, RunId } from '../../base/ids.ts'
import { byDialect } from '../../db/by-dialect.ts'
import type { Db } from '../../db/database.ts'
import { notIndexed } from '../../db/planner.ts'
import type { Tables } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'
import { inState, serverApp } from '../delivery/message-rows.ts'

/** Counts what runs and SuperNodes take, by the indexes of messages and objects. */

const runBytes = statement<{ runId: RunId }, { bytes: number | null }>((db, value) =>
  bytesOf(db, db.selectFrom('message').where('message.run_id', '=', value('runId'))),
)

/** Bytes of the objects of the messages of this run. */
export async function countRunBytes(db: Db, runId: RunId): Promise<number> {
  return Number((await runBytes(db, { runId })).rows[0]?.bytes ?? 0)
}

const nodeBytes = statement<{ nodeId: NodeId }, { bytes: number | null }>((db, value) =>
  bytesOf(db, db.selectFrom('message').where('message.src_node_id', '=', value('nodeId'))),
)

/** Bytes of the objects of messages that this SuperNode has sent. */
export async function countNodeBytes(db: Db, nodeId: NodeId): Promise<number> {
  return Number((await nodeBytes(db, { nodeId })).rows[0]?.bytes ?? 0)
}

/** Sums the sizes of the objects that these messages or their bundles name, each once, and of those in the messages' rows. */
function bytesOf(db: Db, messages: SelectQueryBuilder<Tables, 'message', object>) {
  const bundled = messages
    .where('message.bundle_id', 'is not', null)
    .innerJoin('message_object', 'message_object.message_id', 'message.bundle_id')
    .select('message_object.object_id')
  const ids = messages
    .innerJoin('message_object', 'message_object.message_id', 'message.message_id')
    .select('message_object.object_id')
    .union(bundled)
  const named = db
    .selectFrom('object')
    .select(({ fn }) => fn.coalesce(fn.sum<number>('size'), sql.lit(0)).as('bytes'))
    .where('object_id', 'in', ids)
  const joined = messages.select(({ fn }) =>
    fn
      .coalesce(
        sql<number>`SUM(length(message.objects) - 4 * CASE WHEN message.bundle_id IS NULL THEN message.object_count ELSE 1 END)`,
        sql.lit(0),
      )
      .as('bytes'),
  )
  return db.selectNoFrom(sql<number | null>`${named} + ${joined}`.as('bytes'))
}

const runObjects = statement<{ runId: RunId }, { count: number }>((db, value) => {
  const messages = db.selectFrom('message').where('message.run_id', '=', value('runId'))
  const named = messages
    .innerJoin('message_object', 'message_object.message_id', 'message.message_id')
    .select(({ fn }) => fn.countAll<number>().as('count'))
  const joined = messages.select(({ fn }) => fn.coalesce(fn.sum<number>('object_count'), sql.lit(0)).as('count'))
  return db.selectNoFrom(sql<number>`${named} + ${joined}`.as('count'))
})

/** How many objects the messages of this run name, counted once for each message. */
export async function countRunObjects(db: Db, runId: RunId): Promise<number> {
  return Number((await runObjects(db, { runId })).rows[0]?.count ?? 0)
}

/**
 * Bytes on the disk of the SuperLink or in its bucket. With PostgreSQL, objects that have rows alone: other rows are on its
 * server.
 */
export async function countDiskBytes(db: Db): Promise<number> {
  const objects = await db
    .selectFrom('object')
    .select(({ fn }) => fn.sum<number | null>('size').as('bytes'))
    .where(countedApart)
    .executeTakeFirst()
  const database = (await databaseBytes(db, {})).rows[0]
  return Number(objects?.bytes ?? 0) + Number(database?.bytes ?? 0)
}

/** Objects that are no part of what `databaseBytes` counts. */
const countedApart = byDialect<boolean>({
  sqlite: sql<boolean>`available = 1 AND content IS NULL`,
  postgres: sql<boolean>`available = 1`,
})

/** PostgreSQL does not give the space of deleted rows back: by the size of its files, a full quota would stay full for ever. */
const databaseBytes = statement<object, { bytes: number }>((db) =>
  db.selectNoFrom(
    byDialect<number>({
      sqlite: sql<number>`(SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size())`,
      postgres: sql<number>`0`,
    }).as('bytes'),
  ),
)

/**
 * Whether the object is part of the oldest message, of all or of this run or SuperNode, that a SuperNode has announced and of
 * which some objects are stored and others are missing.
 */
export async function isPartOfOldestUpload(
  db: Db,
  { objectId, runId, nodeId }: { readonly objectId: string; readonly runId?: RunId; readonly nodeId?: NodeId },
): Promise<boolean> {
  let announced = db
    .selectFrom('message')
    .select('message_id')
    .where('state', '=', inState('announced'))
    .where('src_node_id', '<>', serverApp)
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom('message_object as part')
          .innerJoin('object', 'object.object_id', 'part.object_id')
          .select('part.object_id')
          .whereRef('part.message_id', '=', 'message.message_id')
          .where('object.available', '=', sql.lit(1)),
      ),
    )
  if (runId !== undefined) announced = announced.where(({ eb, ref }) => eb(notIndexed(ref('run_id')), '=', runId))
  if (nodeId !== undefined) announced = announced.where('src_node_id', '=', nodeId)
  const part = db
    .selectFrom('message_object')
    .select('object_id')
    .where('object_id', '=', objectId)
    .where('message_id', '=', announced.orderBy('position').limit(sql.lit(1)))
  return (await part.executeTakeFirst()) !== undefined
}
