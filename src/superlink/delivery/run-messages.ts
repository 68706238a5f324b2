import { sql } from 'kysely'
import type { NodeId, RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import { type StoredMessage, toMessage } from './message-store.ts'

/** Queries of the `message` table by run. */

/** The oldest instruction of a run that no node has fetched and that has not expired, for a node that is not among `busy`. */
export async function findPendingOfRun(
  db: Db,
  runId: RunId,
  busy: readonly NodeId[],
  now: number,
): Promise<StoredMessage | undefined> {
  let query = db
    .selectFrom('message')
    .selectAll()
    .where('run_id', '=', runId)
    .where('kind', '=', 'instruction')
    .where('delivered_at', 'is', null)
    .where(({ eb }) => eb(eb('created_at', '+', eb.ref('ttl')), '>', now / 1000))
  if (busy.length > 0) query = query.where('dst_node_id', 'not in', busy)
  const row = await query.orderBy('position').limit(1).executeTakeFirst()
  return row && toMessage(row)
}

/** Runs with instructions that no node has fetched. */
export async function listRunsWithPending(db: Db): Promise<RunId[]> {
  const rows = await db
    .selectFrom('message')
    .select('run_id')
    .distinct()
    .where('kind', '=', 'instruction')
    .where('delivered_at', 'is', null)
    .execute()
  return rows.map((row) => row.run_id as RunId)
}

/** The replies of a node in a run that this object is part of. */
export async function listRepliesWith(
  db: Db,
  { nodeId, runId, objectId }: { readonly nodeId: NodeId; readonly runId: RunId; readonly objectId: string },
): Promise<StoredMessage[]> {
  const rows = await db
    .selectFrom('message')
    .innerJoin('message_object as part', 'part.message_id', 'message.message_id')
    .selectAll('message')
    .where('message.src_node_id', '=', nodeId)
    .where('message.run_id', '=', runId)
    .where('part.object_id', '=', objectId)
    .execute()
  return rows.map(toMessage)
}

/** How many objects of each announced reply have not come. */
export async function countMissingObjects(db: Db): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom('object')
    .innerJoin('message_object as part', 'part.object_id', 'object.object_id')
    .innerJoin('message', 'message.message_id', 'part.message_id')
    .select(({ fn }) => ['message.message_id', fn.countAll<number>().as('missing')])
    .where('object.available', '=', sql.lit(0))
    .where('message.kind', '=', 'reply')
    .groupBy('message.message_id')
    .execute()
  return new Map(rows.map((row) => [row.message_id, Number(row.missing)]))
}

/** Runs that have messages. */
export async function listRuns(db: Db): Promise<RunId[]> {
  const rows = await db.selectFrom('message').select('run_id').distinct().execute()
  return rows.map((row) => row.run_id as RunId)
}

/** Ids of messages that have objects and are not stored themselves. */
export async function listOrphans(db: Db): Promise<string[]> {
  const rows = await db
    .selectFrom('message_object')
    .leftJoin('message', 'message.message_id', 'message_object.message_id')
    .select('message_object.message_id')
    .distinct()
    .where('message.message_id', 'is', null)
    .execute()
  return rows.map((row) => row.message_id)
}

export async function listIdsOfRun(db: Db, runId: RunId): Promise<string[]> {
  return (await db.selectFrom('message').select('message_id').where('run_id', '=', runId).execute()).map(
    (row) => row.message_id,
  )
}
