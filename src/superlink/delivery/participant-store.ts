import { sql } from 'kysely'
import type { NodeId, RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, numberList, numberTable } from '../../db/id-list.ts'
import { statement } from '../../db/statement.ts'
import type { Metadata } from '../../message/message.ts'

/** Queries of the `participant` table, which no other file writes: the nodes that a run has asked for something. */

const insertAsked = statement<{ runId: bigint; nodes: IdList }, never>(
  (db, value) =>
    db
      .insertInto('participant')
      .columns(['run_id', 'node_id'])
      .expression(
        db
          .selectFrom(numberTable(value('nodes')).as('node'))
          .select([sql<bigint>`CAST(${value('runId')} AS bigint)`.as('run_id'), 'node.value'])
          // Otherwise SQLite would read ON CONFLICT as the condition of a join.
          .where(sql<boolean>`true`),
      )
      .onConflict((conflict) => conflict.doNothing()) as never,
)

/** Runs have asked nodes for something. */
export async function insertAll(tx: Db, sent: readonly Metadata[]): Promise<void> {
  const nodesOf = Map.groupBy(sent, ({ runId }) => runId)
  for (const [runId, ofRun] of nodesOf)
    await insertAsked(tx, { runId, nodes: numberList(ofRun.map(({ dstNodeId }) => dstNodeId)) })
}

/** The node has uploaded so many bytes of messages that reply to nothing. */
export async function addUnpromptedBytes(tx: Db, nodeId: NodeId, runId: RunId, bytes: number): Promise<void> {
  await tx
    .updateTable('participant')
    .set(({ eb }) => ({ unprompted_bytes: eb('unprompted_bytes', '+', bytes) }))
    .where('run_id', '=', runId)
    .where('node_id', '=', nodeId)
    .execute()
}

/** A message that replies to nothing has let go of its objects. Counts the bytes that are left; a shared object counts once. */
export async function countUnpromptedBytes(tx: Db, { runId, srcNodeId }: Metadata): Promise<void> {
  const parts = tx
    .selectFrom('message')
    .innerJoin('message_object as part', 'part.message_id', 'message.message_id')
    .select('part.object_id')
    .where('message.src_node_id', '=', srcNodeId)
    .where('message.run_id', '=', runId)
    .where('message.reply_to', '=', '')
  const left = tx
    .selectFrom('object')
    .select(({ fn }) => fn.coalesce(fn.sum<number>('size'), sql.lit(0)).as('bytes'))
    .where('object_id', 'in', parts)
  await tx
    .updateTable('participant')
    .set({ unprompted_bytes: left as never })
    .where('run_id', '=', runId)
    .where('node_id', '=', srcNodeId)
    .execute()
}

/** No message of the run is left that replies to nothing. */
export async function clearUnpromptedBytes(tx: Db, runId: RunId): Promise<void> {
  await tx.updateTable('participant').set({ unprompted_bytes: 0 }).where('run_id', '=', runId).execute()
}

export async function removeOfRun(tx: Db, runId: RunId): Promise<void> {
  await tx.deleteFrom('participant').where('run_id', '=', runId).execute()
}

/** How many bytes the messages of a node in a run hold that reply to nothing. */
export async function findUnpromptedBytes(db: Db, nodeId: NodeId, runId: RunId): Promise<number> {
  const query = db.selectFrom('participant').select('unprompted_bytes').where('run_id', '=', runId)
  return (await query.where('node_id', '=', nodeId).executeTakeFirst())?.unprompted_bytes ?? 0
}

const findOne = statement<{ runId: bigint; nodeId: bigint }, { node_id: bigint }>((db, value) =>
  db
    .selectFrom('participant')
    .select('node_id')
    .where('run_id', '=', value('runId'))
    .where('node_id', '=', value('nodeId')),
)

/** Whether the run has ever asked the node for something. */
export async function isParticipant(db: Db, nodeId: NodeId, runId: RunId): Promise<boolean> {
  return (await findOne(db, { runId, nodeId })).rows.length > 0
}

/** The nodes that the run has asked for something. */
export async function listParticipants(db: Db, runId: RunId): Promise<NodeId[]> {
  const rows = await db.selectFrom('participant').select('node_id').where('run_id', '=', runId).execute()
  return rows.map((row) => row.node_id as NodeId)
}
