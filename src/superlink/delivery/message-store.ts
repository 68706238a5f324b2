import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type ExpressionBuilder, sql } from 'kysely'
import { DomainError } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { shortened } from '../../base/printable.ts'
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

/** Literals: if a term of a partial index is bound, SQLite prepares the statement again at each execution. */
const instruction = sql.lit('instruction')
const reply = sql.lit('reply')

/** A message on its way, without its content: that travels as objects. */
export interface StoredMessage {
  readonly metadata: Metadata
  readonly error: MessageError | undefined
  readonly tree: ObjectTree
  /** Epoch milliseconds; `undefined` while no node has it. */
  readonly deliveredAt: number | undefined
}

/** The last instant at which the message is worth anything, in epoch milliseconds. */
export function expiresAt(message: StoredMessage): number {
  return (message.metadata.createdAt + message.metadata.ttl) * 1000
}

export function toWire(message: StoredMessage): WireMessage {
  return create(MessageSchema, strippedMessage(message.metadata, message.error))
}

/**
 * Stores a message. Returns false, and changes nothing, if the same message is stored already. Throws `invalid-request` if
 * its id belongs to a message of another run, sender or receiver.
 */
export async function insert(tx: Db, message: StoredMessage): Promise<boolean> {
  const { metadata, error, tree } = message
  const stored = await find(tx, metadata.messageId)
  if (stored && !isSameMessage(stored.metadata, metadata))
    throw new DomainError('invalid-request', `The id ${metadata.messageId} belongs to another message.`)
  const result = await tx
    .insertInto('message')
    .values(
      fitting('message', {
        message_id: metadata.messageId,
        kind: metadata.replyToMessageId === '' ? 'instruction' : 'reply',
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
        object_tree: toBinary(ObjectTreeSchema, tree),
        delivered_at: message.deliveredAt ?? null,
      }),
    )
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  return result.numInsertedOrUpdatedRows === 1n
}

export function isSameMessage(one: Metadata, other: Metadata): boolean {
  return (['runId', 'srcNodeId', 'dstNodeId', 'replyToMessageId'] as const).every((key) => one[key] === other[key])
}

export async function find(db: Db, messageId: string): Promise<StoredMessage | undefined> {
  const row = await db.selectFrom('message').selectAll().where('message_id', '=', messageId).executeTakeFirst()
  return row && toMessage(row)
}

/** The instructions of a run among these ids. */
export async function listInstructions(db: Db, runId: RunId, ids: readonly string[]): Promise<StoredMessage[]> {
  return (
    await db
      .selectFrom('message')
      .selectAll()
      .where('message_id', 'in', ids)
      .where(({ eb, ref }) => eb(notIndexed(ref('run_id')), '=', runId))
      .where('kind', '=', instruction)
      .execute()
  ).map(toMessage)
}

export async function listRepliesTo(db: Db, ids: readonly string[]): Promise<StoredMessage[]> {
  return (await selectRepliesTo(db, ids).execute()).map(toMessage)
}

/** The replies of a run to these instructions whose objects are all here. */
export async function listCompleteRepliesTo(db: Db, runId: RunId, ids: readonly string[]): Promise<StoredMessage[]> {
  const query = selectRepliesTo(db, ids).where(({ eb, ref }) => eb(notIndexed(ref('run_id')), '=', runId))
  const rows = query.where(({ not, exists, selectFrom }) => not(exists(missingObjects(selectFrom)))).execute()
  return (await rows).map(toMessage)
}

function selectRepliesTo(db: Db, ids: readonly string[]) {
  return db.selectFrom('message').selectAll().where('reply_to', 'in', ids).where('kind', '=', reply).orderBy('position')
}

/** Replies that a node announced, and whose objects are not all here. */
export async function listIncompleteReplies(db: Db, nodeId: NodeId): Promise<{ messageId: string; runId: RunId }[]> {
  const rows = await db
    .selectFrom('message')
    .select(['message_id', 'run_id'])
    .where('src_node_id', '=', nodeId)
    .where('kind', '=', reply)
    .where(({ exists, selectFrom }) => exists(missingObjects(selectFrom)))
    .execute()
  return rows.map((row) => ({ messageId: row.message_id, runId: row.run_id as RunId }))
}

/** Runs with a reply that has this object and all its others. */
export async function listRunsCompletedBy(db: Db, objectId: string): Promise<RunId[]> {
  const rows = await db
    .selectFrom('message')
    .innerJoin('message_object as part', 'part.message_id', 'message.message_id')
    .select('message.run_id')
    .distinct()
    .where('part.object_id', '=', objectId)
    .where('message.kind', '=', reply)
    .where(({ not, exists, selectFrom }) => not(exists(missingObjects(selectFrom))))
    .execute()
  return rows.map((row) => row.run_id as RunId)
}

/** Returns the oldest instruction that no node has fetched and that has not expired. */
export async function findPending(db: Db, nodeId: NodeId, now: number): Promise<StoredMessage | undefined> {
  const row = await db
    .selectFrom('message')
    .selectAll()
    .where('dst_node_id', '=', nodeId)
    .where('kind', '=', instruction)
    .where('delivered_at', 'is', null)
    .where(({ eb }) => eb(eb('created_at', '+', eb.ref('ttl')), '>', now / 1000))
    .orderBy('position')
    .limit(sql.lit(1))
    .executeTakeFirst()
  return row && toMessage(row)
}

export async function markDelivered(tx: Db, messageId: string, at: number): Promise<void> {
  await tx.updateTable('message').set({ delivered_at: at }).where('message_id', '=', messageId).execute()
}

/** Makes an instruction available again that was handed out at this instant, unless it has moved on since. */
export async function undeliver(tx: Db, messageId: string, deliveredAt: number): Promise<boolean> {
  const result = await tx
    .updateTable('message')
    .set({ delivered_at: null })
    .where('message_id', '=', messageId)
    .where('delivered_at', '=', deliveredAt)
    .where(({ exists, selectFrom }) => exists(objectsOfMessage(selectFrom)))
    .where(({ not, exists, selectFrom }) => not(exists(repliesToMessage(selectFrom))))
    .executeTakeFirstOrThrow()
  return result.numUpdatedRows > 0n
}

/** Makes instructions available again that the node fetched but neither confirmed nor answered. Returns how many. */
export async function undeliverUnconfirmed(tx: Db, nodeId: NodeId): Promise<number> {
  const result = await tx
    .updateTable('message')
    .set({ delivered_at: null })
    .where('dst_node_id', '=', nodeId)
    .where('kind', '=', instruction)
    .where('delivered_at', 'is not', null)
    .where(({ exists, selectFrom }) => exists(objectsOfMessage(selectFrom)))
    .where(({ not, exists, selectFrom }) => not(exists(repliesToMessage(selectFrom))))
    .executeTakeFirstOrThrow()
  return Number(result.numUpdatedRows)
}

/** What the node confirmed and never answered: a confirmed instruction has let go of its objects. */
export async function listConfirmedUnanswered(db: Db, nodeId: NodeId): Promise<StoredMessage[]> {
  const rows = await db
    .selectFrom('message')
    .selectAll()
    .where('dst_node_id', '=', nodeId)
    .where('kind', '=', instruction)
    .where('delivered_at', 'is not', null)
    .where(({ not, exists, selectFrom }) => not(exists(objectsOfMessage(selectFrom))))
    .where(({ not, exists, selectFrom }) => not(exists(repliesToMessage(selectFrom))))
    .execute()
  return rows.map(toMessage)
}

/** Whether an object of the message is announced and its content is not here. */
export async function isIncomplete(db: Db, messageId: string): Promise<boolean> {
  const row = await db
    .selectFrom('message')
    .select('position')
    .where('message_id', '=', messageId)
    .where(({ exists, selectFrom }) => exists(missingObjects(selectFrom)))
    .executeTakeFirst()
  return row !== undefined
}

/** Whether the message has not let go of its objects. */
export async function hasObjects(db: Db, messageId: string): Promise<boolean> {
  const row = await db
    .selectFrom('message_object')
    .select('object_id')
    .where('message_id', '=', messageId)
    .limit(sql.lit(1))
    .executeTakeFirst()
  return row !== undefined
}

type SelectFrom = ExpressionBuilder<Tables, 'message'>['selectFrom']

function objectsOfMessage(selectFrom: SelectFrom) {
  return selectFrom('message_object')
    .select('object_id')
    .whereRef('message_object.message_id', '=', 'message.message_id')
}

function missingObjects(selectFrom: SelectFrom) {
  return selectFrom('message_object')
    .innerJoin('object', 'object.object_id', 'message_object.object_id')
    .select('message_object.object_id')
    .whereRef('message_object.message_id', '=', 'message.message_id')
    .where('object.available', '=', 0)
}

function repliesToMessage(selectFrom: SelectFrom) {
  return selectFrom('message as reply')
    .select('reply.position')
    .whereRef('reply.reply_to', '=', 'message.message_id')
    .where('reply.kind', '=', reply)
}

export async function remove(tx: Db, ids: readonly string[]): Promise<void> {
  await tx.deleteFrom('message').where('message_id', 'in', ids).execute()
}

/** The oldest instructions of a run whose replies its ServerApp has not taken yet. */
export async function listInstructionIdsOfRun(db: Db, runId: RunId, limit: number): Promise<string[]> {
  const query = db.selectFrom('message').select('message_id').where('run_id', '=', runId)
  const rows = await query.where('kind', '=', instruction).orderBy('position').limit(limit).execute()
  return rows.map((row) => row.message_id)
}

/** The earliest end of an instruction's life after `now`, in epoch milliseconds; Infinity when there is none. */
export async function nextExpiry(db: Db, now: number): Promise<number> {
  const row = await db
    .selectFrom('message')
    .select(({ fn, eb }) => fn.min(eb('created_at', '+', eb.ref('ttl'))).as('at'))
    .where('kind', '=', instruction)
    .where(({ eb }) => eb(eb('created_at', '+', eb.ref('ttl')), '>', now / 1000))
    .executeTakeFirst()
  return row?.at ? Number(row.at) * 1000 : Number.POSITIVE_INFINITY
}

export function toMessage(row: Row<'message'>): StoredMessage {
  return {
    metadata: {
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
    },
    error: row.error_code === null ? undefined : { code: row.error_code, reason: row.error_reason ?? '' },
    tree: fromBinary(ObjectTreeSchema, row.object_tree),
    deliveredAt: row.delivered_at ?? undefined,
  }
}
