import { create } from '@bufbuild/protobuf'
import { type ExpressionBuilder, type RawBuilder, sql } from 'kysely'
import { DomainError } from '../../base/errors.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { shortened } from '../../base/printable.ts'
import { takeTurns } from '../../base/turns.ts'
import { inBatches } from '../../db/batches.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import { notIndexed } from '../../db/planner.ts'
import type { Row, Tables } from '../../db/schema.ts'
import {
  MessageSchema,
  type ObjectTree,
  ObjectTreeSchema,
  type Message as WireMessage,
} from '../../gen/flwr/proto/message_pb.ts'
import type { MessageError, Metadata } from '../../message/message.ts'
import { strippedMessage } from '../../message/wire.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'
import { bytesInTurns } from '../../rpc/encode-in-turns.ts'

/** The `message` table: rows by id, and everything that writes. `life.ts` decides which states follow each other. */

export type MessageState = 'announced' | 'offered' | 'fetched' | 'held' | 'answered' | 'taken'

/** A message as its sender hands it over, without its content: that travels as objects. */
export interface NewMessage {
  readonly metadata: Metadata
  readonly error: MessageError | undefined
  readonly tree: ObjectTree
}

export interface StoredMessage extends NewMessage {
  readonly state: MessageState
  /** When a node received it for the last time, in epoch milliseconds. */
  readonly deliveredAt: number | undefined
}

/** Literals: if a term of a partial index is bound, SQLite prepares the statement again at each execution. */
export const inState = (state: MessageState): RawBuilder<MessageState> => sql.lit(state)
export const inStates = (states: readonly MessageState[]): RawBuilder<MessageState>[] => states.map(inState)
/** The SuperLink's end of a message is its ServerApp. */
export const serverApp: RawBuilder<bigint> = sql.raw(String(superlinkNodeId))

/** The last instant at which the message is worth anything, in epoch milliseconds. */
export function expiresAt(message: NewMessage): number {
  return (message.metadata.createdAt + message.metadata.ttl) * 1000
}

export function toWire(message: NewMessage): WireMessage {
  return create(MessageSchema, strippedMessage(message.metadata, message.error))
}

/** Stores a message whose id is not stored yet. */
export async function insert(tx: Db, { metadata, error, tree }: NewMessage, state: MessageState): Promise<void> {
  await tx
    .insertInto('message')
    .values(
      fitting('message', {
        message_id: metadata.messageId,
        state,
        run_id: metadata.runId,
        src_node_id: metadata.srcNodeId,
        dst_node_id: metadata.dstNodeId,
        reply_to: metadata.replyToMessageId,
        group_id: metadata.groupId,
        message_type: metadata.messageType,
        created_at: metadata.createdAt,
        ttl: metadata.ttl,
        src_task_id: metadata.srcTaskId ?? null,
        dst_task_id: metadata.dstTaskId ?? null,
        error_code: error?.code ?? null,
        error_reason: error ? shortened(error.reason, limits.reasonCharactersMax) : null,
        object_tree: await bytesInTurns(ObjectTreeSchema, tree),
        delivered_at: null,
      }),
    )
    .execute()
}

/** Moves the messages that are in one of the states. */
export async function move(
  tx: Db,
  ids: readonly string[],
  from: readonly MessageState[],
  to: { readonly state: MessageState; readonly deliveredAt?: number },
): Promise<void> {
  const changes = {
    ...(to.deliveredAt === undefined ? {} : { delivered_at: to.deliveredAt }),
    // Nothing is fetched any more.
    ...(to.state === 'taken' ? { object_tree: new Uint8Array() } : {}),
  }
  for (const some of inBatches(ids)) {
    await tx
      .updateTable('message')
      .set(fitting('message', { state: to.state, ...changes }))
      .where('message_id', 'in', some)
      .where('state', 'in', inStates(from))
      .execute()
  }
}

export async function remove(tx: Db, ids: readonly string[]): Promise<void> {
  for (const some of inBatches(ids)) await tx.deleteFrom('message').where('message_id', 'in', some).execute()
}

/** The run has asked the node for something. */
export async function insertParticipant(tx: Db, { runId, dstNodeId }: Metadata): Promise<void> {
  await tx
    .insertInto('participant')
    .values(fitting('participant', { run_id: runId, node_id: dstNodeId }))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
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

export async function removeParticipants(tx: Db, runId: RunId): Promise<void> {
  await tx.deleteFrom('participant').where('run_id', '=', runId).execute()
}

/** Throws `invalid-request` if the id of the new message belongs to one of another run, sender or receiver. */
export function ensureSameMessage(stored: NewMessage, { metadata }: NewMessage): void {
  if (isSameMessage(stored.metadata, metadata)) return
  throw new DomainError('invalid-request', `The id ${metadata.messageId} belongs to another message.`)
}

export function isSameMessage(one: Metadata, other: Metadata): boolean {
  return (['runId', 'srcNodeId', 'dstNodeId', 'replyToMessageId'] as const).every((key) => one[key] === other[key])
}

export async function find(db: Db, messageId: string): Promise<StoredMessage | undefined> {
  const row = await db.selectFrom('message').selectAll().where('message_id', '=', messageId).executeTakeFirst()
  return row && toMessage(row)
}

/** The messages of a run to its nodes among these ids. */
export async function listInstructions(db: Db, runId: RunId, ids: readonly string[]): Promise<StoredMessage[]> {
  const found: StoredMessage[] = []
  for (const some of inBatches(ids)) {
    const rows = await db
      .selectFrom('message')
      .selectAll()
      .where('message_id', 'in', some)
      .where(({ eb, ref }) => eb(notIndexed(ref('run_id')), '=', runId))
      .where('dst_node_id', '<>', serverApp)
      .execute()
    found.push(...(await toMessages(rows)))
  }
  return found
}

/** The reply to a message, announced or whole. There is one at most. */
export async function findReplyTo(db: Db, messageId: string): Promise<StoredMessage | undefined> {
  const row = await selectRepliesTo(db, [messageId]).executeTakeFirst()
  return row && toMessage(row)
}

/** The replies of a run to these messages that are whole. */
export async function listOfferedRepliesTo(db: Db, runId: RunId, ids: readonly string[]): Promise<StoredMessage[]> {
  const found: StoredMessage[] = []
  for (const some of inBatches(ids)) {
    const rows = await selectRepliesTo(db, some)
      .where('state', '=', inState('offered'))
      .where(({ eb, ref }) => eb(notIndexed(ref('run_id')), '=', runId))
      .execute()
    found.push(...(await toMessages(rows)))
  }
  return found
}

function selectRepliesTo(db: Db, ids: readonly string[]) {
  const query = db.selectFrom('message').selectAll().where('reply_to', 'in', ids)
  return query.where('reply_to', '<>', sql.lit('')).orderBy('position')
}

/** Returns the messages that wait for no object. */
export async function listWhole(db: Db, ids: readonly string[]): Promise<string[]> {
  const whole: string[] = []
  for (const some of inBatches(ids)) {
    const rows = await db
      .selectFrom('message')
      .select('message_id')
      .where('message_id', 'in', some)
      .where(({ not, exists, selectFrom }) => not(exists(missingObjects(selectFrom))))
      .execute()
    whole.push(...rows.map((row) => row.message_id))
  }
  return whole
}

/** The announced messages that have this object and all their others. */
export async function listCompletedBy(db: Db, objectId: string): Promise<Metadata[]> {
  const rows = await db
    .selectFrom('message_object as part')
    .innerJoin('message', 'message.message_id', 'part.message_id')
    .selectAll('message')
    .where('part.object_id', '=', objectId)
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
    .where(({ not, exists, selectFrom }) => not(exists(missingObjects(selectFrom))))
    .execute()
  return rows.map(toMetadata)
}

type SelectFrom = ExpressionBuilder<Tables, 'message'>['selectFrom']

function missingObjects(selectFrom: SelectFrom) {
  return selectFrom('message_object')
    .innerJoin('object', 'object.object_id', 'message_object.object_id')
    .select('message_object.object_id')
    .whereRef('message_object.message_id', '=', 'message.message_id')
    .where('object.available', '=', sql.lit(0))
}

export async function toMessages(rows: readonly Row<'message'>[]): Promise<StoredMessage[]> {
  const messages: StoredMessage[] = []
  const turn = takeTurns()
  for (const row of rows) {
    messages.push(await toMessage(row))
    await turn()
  }
  return messages
}

/** Object trees can be large: other work goes on while one is read. */
export async function toMessage(row: Row<'message'>): Promise<StoredMessage> {
  return {
    metadata: toMetadata(row),
    error: row.error_code === null ? undefined : { code: row.error_code, reason: row.error_reason ?? '' },
    tree: await decodeInTurns(ObjectTreeSchema, row.object_tree),
    state: row.state as MessageState,
    deliveredAt: row.delivered_at ?? undefined,
  }
}

function toMetadata(row: Row<'message'>): Metadata {
  return {
    runId: row.run_id,
    messageId: row.message_id,
    srcNodeId: row.src_node_id,
    dstNodeId: row.dst_node_id,
    replyToMessageId: row.reply_to,
    groupId: row.group_id,
    ttl: row.ttl,
    messageType: row.message_type,
    createdAt: row.created_at,
    ...(row.src_task_id === null ? {} : { srcTaskId: row.src_task_id }),
    ...(row.dst_task_id === null ? {} : { dstTaskId: row.dst_task_id }),
  }
}
