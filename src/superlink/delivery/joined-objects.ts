import type { RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, idsOf, idTable, inBatches } from '../../db/id-list.ts'
import type { Row } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'
import { type ObjectTree, ObjectTreeSchema } from '../../gen/flwr/proto/message_pb.ts'
import { splitObjects } from '../../objects/joined-objects.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'
import type { JoinedObjects } from './message-store.ts'

/** Queries of objects that are in the rows of their messages. */

const selectObjects = statement<{ ids: IdList }, { message_id: string; objects: Uint8Array | null }>((db, value) =>
  db
    .selectFrom('message')
    .select(['message_id', 'objects'])
    .where('message_id', 'in', idsOf(value('ids'))),
)

/** Returns the objects of those of these messages that have them in their rows, by the message. */
export async function listJoined(db: Db, ids: readonly string[]): Promise<ReadonlyMap<string, readonly Uint8Array[]>> {
  const found = new Map<string, readonly Uint8Array[]>()
  for (const some of inBatches(ids))
    for (const row of (await selectObjects(db, { ids: some })).rows)
      if (row.objects) found.set(row.message_id, splitObjects(row.objects))
  return found
}

const selectSizes = statement<{ ids: IdList }, { message_id: string; bytes: number | null }>((db, value) =>
  db
    .selectFrom('message')
    .select(({ fn }) => ['message_id', fn<number | null>('length', ['objects']).as('bytes')])
    .where('message_id', 'in', idsOf(value('ids'))),
)

/** Returns the sizes of what `listJoined` returns. */
export async function listJoinedSizes(db: Db, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>()
  for (const some of inBatches(ids))
    for (const row of (await selectSizes(db, { ids: some })).rows)
      if (row.bytes !== null) found.set(row.message_id, Number(row.bytes))
  return found
}

const selectTo = statement<{ runId: RunId; dstNodeId: bigint }, { message_id: string }>((db, value) =>
  db
    .selectFrom('message')
    .select('message_id')
    .where('dst_node_id', '=', value('dstNodeId'))
    .where('run_id', '=', value('runId'))
    .where('objects', 'is not', null),
)

/** Returns the messages of a run to a node, or its ServerApp, that have objects in their rows. */
export async function listJoinedTo(db: Db, runId: RunId, dstNodeId: bigint): Promise<string[]> {
  return (await selectTo(db, { runId, dstNodeId })).rows.map((row) => row.message_id)
}

const selectMessages = statement<
  { ids: IdList },
  Pick<Row<'message'>, 'message_id' | 'object_tree' | 'objects' | 'bundle_id'>
>((db, value) =>
  db
    .selectFrom('message')
    .select(['message_id', 'object_tree', 'objects', 'bundle_id'])
    .where('message_id', 'in', idsOf(value('ids')))
    .where('objects', 'is not', null),
)

interface JoinedMessage {
  readonly messageId: string
  readonly tree: ObjectTree
  readonly joined: JoinedObjects
}

/** Returns those of these messages that have objects in their rows. */
export async function listJoinedMessages(db: Db, ids: readonly string[]): Promise<JoinedMessage[]> {
  const found: JoinedMessage[] = []
  for (const some of inBatches(ids)) {
    for (const row of (await selectMessages(db, { ids: some })).rows) {
      const tree = await decodeInTurns(ObjectTreeSchema, row.object_tree)
      const joined = { objects: row.objects ?? new Uint8Array(), bundleId: row.bundle_id ?? undefined }
      found.push({ messageId: row.message_id, tree, joined })
    }
  }
  return found
}

const selectUnused = statement<{ ids: IdList }, { value: string }>((db, value) =>
  db
    .selectFrom(idTable(value('ids')).as('bundle'))
    .select('bundle.value')
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('message')
            .select('message_id')
            .whereRef('message.bundle_id', '=', 'bundle.value')
            // The term of the index.
            .where('message.bundle_id', 'is not', null),
        ),
      ),
    ),
)

/** Returns those of these bundles that no message has. */
export async function listUnusedBundles(tx: Db, bundleIds: Iterable<string>): Promise<string[]> {
  const unused: string[] = []
  for (const ids of inBatches([...bundleIds]))
    unused.push(...(await selectUnused(tx, { ids })).rows.map((row) => row.value))
  return unused
}
