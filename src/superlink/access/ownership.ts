import { sql } from 'kysely'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import { notIndexed } from '../../db/planner.ts'
import { statement } from '../../db/statement.ts'
import { messageOfAnother } from '../../tasks/app-owners.ts'
import * as messageStore from '../delivery/message-store.ts'

/**
 * Decides whether a message or an object belongs to a node or a run. An object belongs to the messages that it is part of,
 * so several runs can own it. Limits are literals: SQLite would prepare a statement with a bound limit anew at each call.
 */

interface Part {
  readonly nodeId: NodeId
  readonly runId: RunId
  readonly objectId: string
}

/** A node has few messages at a time: they are looked up first, because thousands of messages may share the object. */
const repliesOf = (column: 'src_node_id' | 'dst_node_id') =>
  statement<Part, { reply_to: string | null }>((db, value) =>
    db
      .selectFrom('message')
      .select(({ fn }) => fn.min('reply_to').as('reply_to'))
      .where(column, '=', value('nodeId'))
      .where('run_id', '=', value('runId'))
      .where(({ exists, selectFrom }) =>
        exists(
          selectFrom('message_object')
            .select('object_id')
            .whereRef('message_object.message_id', '=', 'message.message_id')
            .where('message_object.object_id', '=', value('objectId')),
        ),
      ),
  )

const receivedWith = repliesOf('dst_node_id')
const sentWith = repliesOf('src_node_id')

/** Whether the object is part of an instruction to this node. */
export async function isObjectTo(db: Db, nodeId: NodeId, runId: RunId, objectId: string): Promise<boolean> {
  return (await receivedWith(db, { nodeId, runId, objectId })).rows[0]?.reply_to !== null
}

/** Whether the object is part of a message that this node has announced. */
export async function isObjectFrom(db: Db, nodeId: NodeId, runId: RunId, objectId: string): Promise<boolean> {
  return (await findSentWith(db, { nodeId, runId, objectId })) !== undefined
}

/** Whether the messages that this node has announced with the object are all replies; `undefined` if there are none. */
export async function findSentWith(db: Db, part: Part): Promise<'replies' | 'unprompted' | undefined> {
  const replyTo = (await sentWith(db, part)).rows[0]?.reply_to ?? undefined
  if (replyTo === undefined) return undefined
  return replyTo === '' ? 'unprompted' : 'replies'
}

const selectOfRun = statement<{ runId: RunId; objectId: string }, { position: number }>((db, value) =>
  db
    .selectFrom('message_object as part')
    .innerJoin('message', 'message.message_id', 'part.message_id')
    .select('message.position')
    .where('part.object_id', '=', value('objectId'))
    .where(({ eb, ref }) => eb(notIndexed(ref('message.run_id')), '=', value('runId')))
    .limit(sql.lit(1)),
)

/** Whether the object is part of a message of this run. */
export async function isObjectOfRun(db: Db, runId: RunId, objectId: string): Promise<boolean> {
  return (await selectOfRun(db, { runId, objectId })).rows.length > 0
}

const selectWork = statement<{ nodeId: NodeId; runId: RunId }, { position: number }>((db, value) =>
  db
    .selectFrom('message')
    .select('position')
    .where('dst_node_id', '=', value('nodeId'))
    .where('run_id', '=', value('runId'))
    .limit(sql.lit(1)),
)

/** Whether the node has an instruction of this run that no ServerApp has the reply to. */
export async function hasWorkIn(db: Db, nodeId: NodeId, runId: RunId): Promise<boolean> {
  return (await selectWork(db, { nodeId, runId })).rows.length > 0
}

/** Each reply asks: the object tree of the instruction is not read for it. */
const selectReceiver = statement<{ messageId: string }, { dst_node_id: bigint; run_id: bigint }>((db, value) =>
  db.selectFrom('message').select(['dst_node_id', 'run_id']).where('message_id', '=', value('messageId')),
)

/** Returns `undefined` if there is no such message. */
async function findIsInstructionTo(
  db: Db,
  nodeId: NodeId,
  runId: RunId,
  messageId: string,
): Promise<boolean | undefined> {
  const [row] = (await selectReceiver(db, { messageId })).rows
  return row && row.dst_node_id === nodeId && row.run_id === runId
}

/** Whether the message is an instruction of this run to this node. */
export async function isInstructionTo(db: Db, nodeId: NodeId, runId: RunId, messageId: string): Promise<boolean> {
  return (await findIsInstructionTo(db, nodeId, runId, messageId)) === true
}

/** Throws `message-of-another` unless the message is an instruction of this run to this node, or unknown. */
export async function ensureInstructionTo(db: Db, nodeId: NodeId, runId: RunId, messageId: string): Promise<void> {
  if ((await findIsInstructionTo(db, nodeId, runId, messageId)) === false) throw messageOfAnother(messageId)
}

/** Throws `message-of-another` unless each message is one to the ServerApp of this run, or unknown. */
export async function ensureSentToApp(db: Db, runId: RunId, messageIds: readonly string[]): Promise<void> {
  for (const message of await messageStore.listMetadata(db, messageIds))
    if (message.dstNodeId !== superlinkNodeId || message.runId !== runId) throw messageOfAnother(message.messageId)
}
