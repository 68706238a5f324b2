import { sql } from 'kysely'
import type { NodeId, RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, numberList, numbersOf } from '../../db/id-list.ts'
import { statement } from '../../db/statement.ts'
import { inState, type MessageRow, messageColumns, serverApp, toMessage, toMessages } from './message-rows.ts'
import type { MessageState, StoredMessage } from './message-store.ts'
import { waiting } from './node-messages.ts'

/** Queries of the `message` table by run. */

const selectWhole = statement<{ runId: RunId; busy: IdList; nowSeconds: number }, MessageRow>((db, value) =>
  db
    .selectFrom('message')
    .select(messageColumns)
    .where('run_id', '=', value('runId'))
    .where('dst_node_id', '<>', serverApp)
    .where('state', '=', inState('offered'))
    .where(({ eb }) => eb(eb('created_at', '+', eb.ref('ttl')), '>', value('nowSeconds')))
    .where('dst_node_id', 'not in', numbersOf(value('busy')))
    .orderBy('position')
    .limit(sql.lit(1)),
)

/** The oldest whole message of a run that waits for a node which is not among `busy`, and that has not expired. */
export async function findWholeOfRun(
  db: Db,
  runId: RunId,
  busy: readonly NodeId[],
  now: number,
): Promise<StoredMessage | undefined> {
  const [row] = (await selectWhole(db, { runId, busy: numberList(busy), nowSeconds: now / 1000 })).rows
  return row && toMessage(row)
}

/** Runs with messages that wait for nodes. */
export async function listRunsWithWaiting(db: Db): Promise<RunId[]> {
  const query = db.selectFrom('message').select('run_id').distinct().where('dst_node_id', '<>', serverApp)
  return (await query.where('state', 'in', waiting).execute()).map((row) => row.run_id as RunId)
}

/** The oldest messages of a run to nodes whose replies its ServerApp has not confirmed yet. */
export async function listInstructionIds(db: Db, runId: RunId, limit: number): Promise<string[]> {
  const query = db.selectFrom('message').select('message_id').where('run_id', '=', runId)
  const rows = await query.where('dst_node_id', '<>', serverApp).orderBy('position').limit(sql.lit(limit)).execute()
  return rows.map((row) => row.message_id)
}

/** A message to a node whose reply is not here. */
export interface Unanswered {
  readonly nodeId: NodeId
  readonly state: MessageState
  /** In epoch milliseconds. */
  readonly createdAt: number
  readonly deliveredAt: number | undefined
}

/** The oldest messages of a run that have no complete reply. */
export async function listUnanswered(db: Db, runId: RunId, limit: number): Promise<Unanswered[]> {
  const rows = await db
    .selectFrom('message')
    .select(['dst_node_id', 'state', 'created_at', 'delivered_at'])
    .where('run_id', '=', runId)
    .where('dst_node_id', '<>', serverApp)
    .where('state', 'not in', [inState('answered'), inState('taken')])
    .orderBy('position')
    .limit(sql.lit(limit))
    .execute()
  return rows.map((row) => ({
    nodeId: row.dst_node_id as NodeId,
    state: row.state as MessageState,
    createdAt: row.created_at * 1000,
    deliveredAt: row.delivered_at ?? undefined,
  }))
}

/** The oldest messages to the ServerApp of a run that reply to nothing and that it has not confirmed yet. */
export async function listOfferedUnprompted(db: Db, runId: RunId, limit: number): Promise<StoredMessage[]> {
  const rows = await db
    .selectFrom('message')
    .select(messageColumns)
    .where('dst_node_id', '=', serverApp)
    .where('run_id', '=', runId)
    .where('reply_to', '=', '')
    .where('state', '=', inState('offered'))
    .orderBy('position')
    .limit(sql.lit(limit))
    .execute()
  return toMessages(rows)
}

/** The messages of a node in a run that this object is part of. */
export async function listSentWith(
  db: Db,
  { nodeId, runId, objectId }: { readonly nodeId: NodeId; readonly runId: RunId; readonly objectId: string },
): Promise<StoredMessage[]> {
  const rows = await db
    .selectFrom('message')
    .innerJoin('message_object as part', 'part.message_id', 'message.message_id')
    .select(messageColumns)
    .where('message.src_node_id', '=', nodeId)
    .where('message.run_id', '=', runId)
    .where('part.object_id', '=', objectId)
    .execute()
  return toMessages(rows)
}

/** Runs that have messages. */
export async function listRuns(db: Db): Promise<RunId[]> {
  const rows = await db.selectFrom('message').select('run_id').distinct().execute()
  return rows.map((row) => row.run_id as RunId)
}

/** Ids of messages that have objects and are not stored themselves, and bundles that no message has. */
export async function listOrphans(db: Db): Promise<string[]> {
  const rows = await db
    .selectFrom('message_object')
    .leftJoin('message', 'message.message_id', 'message_object.message_id')
    .select('message_object.message_id')
    .distinct()
    .leftJoin('message as sharing', (join) =>
      join
        .onRef('sharing.bundle_id', '=', 'message_object.message_id')
        // The term of the index.
        .on('sharing.bundle_id', 'is not', null),
    )
    .where('message.message_id', 'is', null)
    .where('sharing.message_id', 'is', null)
    .execute()
  return rows.map((row) => row.message_id)
}

export async function listIdsOfRun(db: Db, runId: RunId): Promise<string[]> {
  return (await db.selectFrom('message').select('message_id').where('run_id', '=', runId).execute()).map(
    (row) => row.message_id,
  )
}
