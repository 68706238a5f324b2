import { type RawBuilder, sql } from 'kysely'
import { superlinkNodeId } from '../../base/ids.ts'
import { takeTurns } from '../../base/turns.ts'
import type { Row } from '../../db/schema.ts'
import { ObjectTreeSchema } from '../../gen/flwr/proto/message_pb.ts'
import type { MessageError, Metadata } from '../../message/message.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'
import type { MessageState, StoredMessage } from './message-store.ts'

/** Rows of the `message` table as messages, and literals for its queries. */

/** Literals: if a term of a partial index is bound, SQLite prepares the statement again at each execution. */
export const inState = (state: MessageState): RawBuilder<MessageState> => sql.lit(state)
export const inStates = (states: readonly MessageState[]): RawBuilder<MessageState>[] => states.map(inState)
/** The SuperLink's end of a message is its ServerApp. */
export const serverApp: RawBuilder<bigint> = sql.raw(String(superlinkNodeId))

/** What is read of a message. Its objects can be many times as large, and are read by `joined-objects.ts` alone. */
export type MessageRow = Omit<Row<'message'>, 'objects'>

export const messageColumns = [
  'message.message_id',
  'message.state',
  'message.run_id',
  'message.src_node_id',
  'message.dst_node_id',
  'message.reply_to',
  'message.group_id',
  'message.message_type',
  'message.created_at',
  'message.ttl',
  'message.src_task_id',
  'message.dst_task_id',
  'message.error_code',
  'message.error_reason',
  'message.object_tree',
  'message.object_count',
  'message.bundle_id',
  'message.delivered_at',
  'message.position',
] as const

export async function toMessages(
  rows: readonly (MessageRow & { readonly objects?: Uint8Array | null })[],
): Promise<StoredMessage[]> {
  const messages: StoredMessage[] = []
  const turn = takeTurns()
  for (const row of rows) {
    messages.push(await toMessage(row))
    await turn()
  }
  return messages
}

/** Object trees can be large: other work goes on while one is read. */
export async function toMessage(row: MessageRow & { readonly objects?: Uint8Array | null }): Promise<StoredMessage> {
  return {
    metadata: toMetadata(row),
    error: toError(row),
    tree: await decodeInTurns(ObjectTreeSchema, row.object_tree),
    state: row.state as MessageState,
    isJoined: row.object_count > 0,
    ...(row.objects ? { joined: { objects: row.objects, bundleId: row.bundle_id ?? undefined } } : {}),
    deliveredAt: row.delivered_at ?? undefined,
  }
}

export function toError({
  error_code: code,
  error_reason: reason,
}: Pick<MessageRow, 'error_code' | 'error_reason'>): MessageError | undefined {
  return code === null ? undefined : { code, reason: reason ?? '' }
}

export function toMetadata(row: Omit<MessageRow, 'object_tree' | 'object_count' | 'bundle_id'>): Metadata {
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
