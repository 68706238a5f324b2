import { create } from '@bufbuild/protobuf'
import { DomainError } from '../../base/errors.ts'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { shortened } from '../../base/printable.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, idsOf, inBatches } from '../../db/id-list.ts'
import { rowInserter } from '../../db/insert-rows.ts'
import { notIndexed } from '../../db/planner.ts'
import type { NewRow } from '../../db/schema.ts'
import { type Statement, statement } from '../../db/statement.ts'
import {
  MessageSchema,
  type ObjectTree,
  ObjectTreeSchema,
  type Message as WireMessage,
} from '../../gen/flwr/proto/message_pb.ts'
import type { MessageError, Metadata } from '../../message/message.ts'
import { metadataFromWire, strippedMessage } from '../../message/wire.ts'
import { bytesInTurns } from '../../rpc/encode-in-turns.ts'
import {
  inState,
  inStates,
  type MessageRow,
  messageColumns,
  serverApp,
  toError,
  toMessage,
  toMetadata,
} from './message-rows.ts'

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
  /** Whether objects are in its own row: see `joined-messages.ts`. */
  readonly isJoined: boolean
  /** These objects, where they are read with the message. */
  readonly joined?: JoinedObjects
  /** When a node received it for the last time, in epoch milliseconds. */
  readonly deliveredAt: number | undefined
}

/** Objects in the row of a message. */
export interface JoinedObjects {
  readonly objects: Uint8Array
  /** The name of what the message shares with others. Without it all objects of the message are joined, else its root alone. */
  readonly bundleId: string | undefined
}

/** A message as lists have it: without its object tree. */
export type ListedMessage = SentMessage & { readonly state: MessageState }

/** What is known of a message without its object tree. */
export type SentMessage = Pick<StoredMessage, 'metadata' | 'error' | 'deliveredAt' | 'isJoined'>

/** The last instant at which the message is worth anything, in epoch milliseconds. */
export function expiresAt(message: Pick<NewMessage, 'metadata'>): number {
  return (message.metadata.createdAt + message.metadata.ttl) * 1000
}

export function fromWire({ metadata, error }: WireMessage, tree: ObjectTree): NewMessage {
  return {
    metadata: metadataFromWire(metadata),
    error: error && { code: Number(error.code), reason: error.reason },
    tree,
  }
}

export function toWire(message: NewMessage): WireMessage {
  return create(MessageSchema, strippedMessage(message.metadata, message.error))
}

const columns = [
  'message_id',
  'state',
  'run_id',
  'src_node_id',
  'dst_node_id',
  'reply_to',
  'group_id',
  'message_type',
  'created_at',
  'ttl',
  'src_task_id',
  'dst_task_id',
  'error_code',
  'error_reason',
  'object_tree',
  'objects',
  'object_count',
  'bundle_id',
  'delivered_at',
] as const

/** What `toSent` needs. */
export const sentColumns = columns.filter(
  (column) => column !== 'object_tree' && column !== 'objects' && column !== 'bundle_id',
)

export type SentRow = Omit<MessageRow, 'object_tree' | 'bundle_id'>

type MessageValues = Required<Pick<NewRow<'message'>, (typeof columns)[number]>>

const insertRows = rowInserter('message', columns)

/** How a new message is stored. */
export interface Storing {
  readonly state: MessageState
  /** When its node receives it, if that is decided already. */
  readonly deliveredAt?: number | undefined
  /** Objects that are stored in its row, and of how many objects the message is made. */
  readonly joined?: (JoinedObjects & { readonly count: number }) | undefined
}

/** Stores messages whose ids are not stored yet, in their order. */
export async function insertAll(
  tx: Db,
  messages: readonly NewMessage[],
  storing: (message: NewMessage) => Storing,
): Promise<void> {
  const rows: MessageValues[] = []
  for (const message of messages) rows.push(await toRow(message, storing(message)))
  await insertRows(tx, rows)
}

async function toRow(
  { metadata, error, tree }: NewMessage,
  { state, deliveredAt, joined }: Storing,
): Promise<MessageValues> {
  return {
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
    objects: joined?.objects ?? null,
    object_count: joined?.count ?? 0,
    bundle_id: joined?.bundleId ?? null,
    delivered_at: deliveredAt ?? null,
  }
}

type MovedTo = { readonly state: MessageState; readonly deliveredAt?: number }

/** One for each pair of states that follow each other, and for each column that changes with the state. */
const moves = new Map<string, Statement<{ ids: IdList; deliveredAt: number }, never>>()

function moveStatement(
  from: readonly MessageState[],
  to: MovedTo,
): Statement<{ ids: IdList; deliveredAt: number }, never> {
  const isDelivered = to.deliveredAt !== undefined
  const name = `${from.join()} ${to.state} ${isDelivered}`
  const known = moves.get(name)
  if (known) return known
  const created = statement<{ ids: IdList; deliveredAt: number }, never>(
    (db, value) =>
      db
        .updateTable('message')
        .set(
          fitting('message', {
            state: inState(to.state),
            ...(isDelivered ? { delivered_at: value('deliveredAt') } : {}),
            // Nothing is fetched any more.
            ...(to.state === 'taken' ? { object_tree: new Uint8Array() } : {}),
          } as never),
        )
        .where('message_id', 'in', idsOf(value('ids')))
        .where('state', 'in', inStates(from)) as never,
  )
  moves.set(name, created)
  return created
}

/** Moves the messages that are in one of the states. */
export async function move(tx: Db, ids: readonly string[], from: readonly MessageState[], to: MovedTo): Promise<void> {
  const moveSome = moveStatement(from, to)
  for (const some of inBatches(ids)) await moveSome(tx, { ids: some, deliveredAt: to.deliveredAt ?? 0 })
}

const clearObjects = statement<{ ids: IdList }, never>(
  (db, value) =>
    db
      .updateTable('message')
      .set(fitting('message', { objects: null, object_count: 0, bundle_id: null }))
      .where('message_id', 'in', idsOf(value('ids'))) as never,
)

/** The objects that were in the rows of these messages have rows of their own. */
export async function takeObjectsOut(tx: Db, ids: readonly string[]): Promise<void> {
  for (const some of inBatches(ids)) await clearObjects(tx, { ids: some })
}

const deleteRows = statement<{ ids: IdList }, { bundle_id: string | null }>((db, value) =>
  db
    .deleteFrom('message')
    .where('message_id', 'in', idsOf(value('ids')))
    .returning('bundle_id'),
)

/** Returns the bundles that the removed messages had. */
export async function remove(tx: Db, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const bundles = new Set<string>()
  for (const some of inBatches(ids))
    for (const { bundle_id: id } of (await deleteRows(tx, { ids: some })).rows) if (id !== null) bundles.add(id)
  return bundles
}

/** Throws `invalid-request` if the id of the new message belongs to one of another run, sender or receiver. */
export function ensureSameMessage(stored: Pick<NewMessage, 'metadata'>, { metadata }: NewMessage): void {
  if (isSameMessage(stored.metadata, metadata)) return
  throw new DomainError('invalid-request', `The id ${metadata.messageId} belongs to another message.`)
}

export function isSameMessage(one: Metadata, other: Metadata): boolean {
  return (['runId', 'srcNodeId', 'dstNodeId', 'replyToMessageId'] as const).every((key) => one[key] === other[key])
}

const selectOne = statement<{ messageId: string }, MessageRow>((db, value) =>
  db.selectFrom('message').select(messageColumns).where('message_id', '=', value('messageId')),
)

export async function find(db: Db, messageId: string): Promise<StoredMessage | undefined> {
  const [row] = (await selectOne(db, { messageId })).rows
  return row && toMessage(row)
}

const selectMetadata = statement<{ ids: IdList }, SentRow>((db, value) =>
  db
    .selectFrom('message')
    .select(sentColumns)
    .where('message_id', 'in', idsOf(value('ids'))),
)

/** Those of these messages that are stored, without their object trees. */
export async function listMetadata(db: Db, ids: readonly string[]): Promise<Metadata[]> {
  return (await listSent(db, ids)).map(({ metadata }) => metadata)
}

/** The same, with their states. */
export async function listSent(db: Db, ids: readonly string[]): Promise<ListedMessage[]> {
  const found: ListedMessage[] = []
  for (const some of inBatches(ids))
    for (const row of (await selectMetadata(db, { ids: some })).rows) found.push(toSent(row))
  return found
}

/** The same, by their ids. */
export async function findSent(db: Db, ids: readonly string[]): Promise<ReadonlyMap<string, ListedMessage>> {
  return new Map((await listSent(db, ids)).map((one) => [one.metadata.messageId, one]))
}

function toSent(row: SentRow): ListedMessage {
  return {
    metadata: toMetadata(row),
    error: toError(row),
    deliveredAt: row.delivered_at ?? undefined,
    isJoined: row.object_count > 0,
    state: row.state as MessageState,
  }
}

const selectInstructions = statement<{ ids: IdList; runId: bigint }, SentRow>((db, value) =>
  db
    .selectFrom('message')
    .select(sentColumns)
    .where('message_id', 'in', idsOf(value('ids')))
    .where(({ eb, ref }) => eb(notIndexed(ref('run_id')), '=', value('runId')))
    .where('dst_node_id', '<>', serverApp),
)

/** The messages of a run to its nodes among these ids; of thousands the object trees would take much memory. */
export async function listInstructions(db: Db, runId: RunId, ids: readonly string[]): Promise<SentMessage[]> {
  const found: SentMessage[] = []
  for (const some of inBatches(ids))
    for (const row of (await selectInstructions(db, { ids: some, runId })).rows) found.push(toSent(row))
  return found
}
