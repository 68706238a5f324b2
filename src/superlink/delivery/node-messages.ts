import { sql } from 'kysely'
import type { NodeId, RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, idList, idsOf, numberList, numberTable } from '../../db/id-list.ts'
import type { Row } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'
import { inState, inStates, type MessageRow, messageColumns, serverApp, toMessages } from './message-rows.ts'
import type { MessageState, StoredMessage } from './message-store.ts'

/** Queries of the `message` table by node. */

/** Messages that no node has. */
export const waiting = inStates(['announced', 'offered'])

const selectWaiting = statement<
  { nodes: IdList; nowSeconds: number },
  { dst_node_id: bigint; message_id: string; bytes: number }
>((db, value) =>
  db
    .selectFrom(numberTable(value('nodes')).as('node'))
    .innerJoin('message', (join) =>
      join.on('message.position', '=', ({ selectFrom }) =>
        selectFrom('message as first')
          .select('first.position')
          .whereRef('first.dst_node_id', '=', 'node.value')
          .where('first.state', 'in', waiting)
          .where(({ eb }) => eb(eb('first.created_at', '+', eb.ref('first.ttl')), '>', value('nowSeconds')))
          .orderBy('first.position')
          .limit(sql.lit(1)),
      ),
    )
    .select(['message.dst_node_id', 'message.message_id'])
    .select(sql<number>`length(message.object_tree)`.as('bytes')),
)

/** Returns for each node the oldest message that waits for it and has not expired, if there is one. */
export async function listWaiting(db: Db, nodeIds: readonly NodeId[], now: number): Promise<WaitingMessage[]> {
  const { rows } = await selectWaiting(db, { nodes: numberList(nodeIds), nowSeconds: now / 1000 })
  return rows.map((row) => ({ nodeId: row.dst_node_id as NodeId, messageId: row.message_id, bytes: row.bytes }))
}

/** A message that waits for its node, and the size of its object tree. */
export interface WaitingMessage {
  readonly nodeId: NodeId
  readonly messageId: string
  readonly bytes: number
}

const selectRows = statement<{ ids: IdList }, MessageRow & Pick<Row<'message'>, 'objects'>>((db, value) =>
  db
    .selectFrom('message')
    .select([...messageColumns, 'message.objects'])
    .where('message_id', 'in', idsOf(value('ids'))),
)

/** Reads messages, in statements that return no more than some megabytes each. */
export async function readWaiting(db: Db, waiting: readonly WaitingMessage[]): Promise<StoredMessage[]> {
  const messages: StoredMessage[] = []
  let some: string[] = []
  let bytes = 0
  const read = async (): Promise<void> => {
    if (some.length > 0) messages.push(...(await toMessages((await selectRows(db, { ids: idList(some) })).rows)))
    some = []
    bytes = 0
  }
  for (const one of waiting) {
    if (bytes + one.bytes > treeBytesAtOnce) await read()
    some.push(one.messageId)
    bytes += one.bytes
  }
  await read()
  return messages
}

const treeBytesAtOnce = 1024 * 1024

const selectFetchedOf = statement<{ nodeId: NodeId }, { message_id: string }>((db, value) =>
  selectFetched(db).where('message.dst_node_id', '=', value('nodeId')),
)

/** Ids of messages that the node received, and neither confirmed nor began to reply to. */
export async function listFetched(db: Db, nodeId: NodeId): Promise<string[]> {
  return (await selectFetchedOf(db, { nodeId })).rows.map((row) => row.message_id)
}

/** As `listFetched`, of all nodes. */
export async function listFetchedByAny(db: Db): Promise<string[]> {
  return (await selectFetched(db).execute()).map((row) => row.message_id)
}

function selectFetched(db: Db) {
  return db
    .selectFrom('message')
    .leftJoin('message as reply', (join) =>
      join
        .onRef('reply.reply_to', '=', 'message.message_id')
        // The term of the index.
        .on('reply.reply_to', '<>', sql.lit('')),
    )
    .select('message.message_id')
    .where('message.state', '=', inState('fetched'))
    .where('reply.message_id', 'is', null)
}

const selectHeld = statement<{ nodeId: NodeId }, MessageRow>((db, value) =>
  db
    .selectFrom('message')
    .select(messageColumns)
    .where('dst_node_id', '=', value('nodeId'))
    .where('state', '=', inState('held')),
)

/** Messages that the node confirmed and has not answered. */
export async function listHeld(db: Db, nodeId: NodeId): Promise<StoredMessage[]> {
  return toMessages((await selectHeld(db, { nodeId })).rows)
}

const selectAnnounced = statement<{ nodeId: NodeId }, MessageRow>((db, value) =>
  db
    .selectFrom('message')
    .select(messageColumns)
    .where('src_node_id', '=', value('nodeId'))
    .where('state', '=', inState('announced')),
)

/** Messages that the node announced, and whose objects are not all here. */
export async function listAnnouncedBy(db: Db, nodeId: NodeId): Promise<StoredMessage[]> {
  return toMessages((await selectAnnounced(db, { nodeId })).rows)
}

/** Ids, senders and runs of messages that nodes announced, and whose objects are not all here. */
export async function listAnnounced(db: Db): Promise<{ messageId: string; nodeId: NodeId; runId: RunId }[]> {
  const rows = await db
    .selectFrom('message')
    .select(['message_id', 'src_node_id', 'run_id'])
    .where('state', '=', inState('announced'))
    .where('src_node_id', '<>', serverApp)
    .execute()
  return rows.map((row) => ({
    messageId: row.message_id,
    nodeId: row.src_node_id as NodeId,
    runId: row.run_id as RunId,
  }))
}

/** How many objects of the message have not come. */
export async function countMissingObjects(db: Db, messageId: string): Promise<number> {
  const row = await db
    .selectFrom('message_object as part')
    .innerJoin('object', 'object.object_id', 'part.object_id')
    .select(({ fn }) => fn.countAll<number>().as('missing'))
    .where('part.message_id', '=', messageId)
    .where('object.available', '=', sql.lit(0))
    .executeTakeFirstOrThrow()
  return Number(row.missing)
}

/** A message of a node that replies to nothing. */
export interface Unprompted {
  readonly messageId: string
  readonly state: MessageState
  /** Epoch milliseconds. */
  readonly expiresAt: number
  readonly treeBytes: number
}

/** The messages of a node in a run that reply to nothing, the oldest first. */
export async function listUnprompted(db: Db, nodeId: NodeId, runId: RunId): Promise<Unprompted[]> {
  const rows = await selectUnprompted(db, nodeId, runId)
    .select(['message_id', 'state', 'created_at', 'ttl', sql<number>`length(object_tree)`.as('tree_bytes')])
    .orderBy('position')
    .execute()
  return rows.map((row) => ({
    messageId: row.message_id,
    state: row.state as MessageState,
    expiresAt: (row.created_at + row.ttl) * 1000,
    treeBytes: Number(row.tree_bytes),
  }))
}

function selectUnprompted(db: Db, nodeId: NodeId, runId: RunId) {
  const query = db.selectFrom('message').where('src_node_id', '=', nodeId).where('run_id', '=', runId)
  return query.where('reply_to', '=', '')
}

/** The earliest end of an unanswered message to a node after `now`, in epoch milliseconds; Infinity if there is none. */
export async function nextExpiry(db: Db, now: number): Promise<number> {
  const row = await db
    .selectFrom('message')
    .select(({ fn, eb }) => fn.min(eb('created_at', '+', eb.ref('ttl'))).as('at'))
    .where('dst_node_id', '<>', serverApp)
    .where('state', '<>', inState('answered'))
    .where(({ eb }) => eb(eb('created_at', '+', eb.ref('ttl')), '>', now / 1000))
    .executeTakeFirst()
  return row?.at ? Number(row.at) * 1000 : Number.POSITIVE_INFINITY
}
