import type { NodeId, RunId } from '../../base/ids.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Database, Db } from '../../db/database.ts'
import { findValue, forgetParts, keepValue, type PreparedValue, prepareValue } from '../../db/large-values.ts'
import { type RecordDict, RecordDictSchema } from '../../gen/flwr/proto/recorddict_pb.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'
import { bytesInTurns } from '../../rpc/encode-in-turns.ts'

/**
 * Queries of the `virtual_node` table, which no other file writes: what ClientApps keep from message to message, by run and
 * node. On disk, so that ten thousand nodes with a state need no memory.
 */

export async function find(db: Db, runId: RunId, nodeId: NodeId, makeRoom?: MakeRoom): Promise<RecordDict | undefined> {
  const state = await findValue(db, () => selectState(db, runId, nodeId).executeTakeFirst(), makeRoom)
  return state && decodeInTurns(RecordDictSchema, state)
}

/** Stores a large state, for `put`. */
export async function prepare(db: Database, record: RecordDict): Promise<PreparedValue> {
  return prepareValue(db, await bytesInTurns(RecordDictSchema, record))
}

export async function put(tx: Db, runId: RunId, nodeId: NodeId, prepared: PreparedValue): Promise<void> {
  const former = await selectState(tx, runId, nodeId).executeTakeFirst()
  const { content: state, parts } = await keepValue(tx, prepared)
  await tx
    .insertInto('virtual_node')
    .values(fitting('virtual_node', { run_id: runId, node_id: nodeId, state, parts }))
    .onConflict((conflict) => conflict.columns(['run_id', 'node_id']).doUpdateSet({ state, parts }))
    .execute()
  await forgetParts(tx, former?.parts)
}

export async function removeOfRun(tx: Db, runId: RunId): Promise<void> {
  const inParts = tx
    .selectFrom('virtual_node')
    .select('parts')
    .where('run_id', '=', runId)
    .where('parts', 'is not', null)
  for (const { parts } of await inParts.execute()) await forgetParts(tx, parts)
  await tx.deleteFrom('virtual_node').where('run_id', '=', runId).execute()
}

function selectState(db: Db, runId: RunId, nodeId: NodeId) {
  return db
    .selectFrom('virtual_node')
    .select(['state as content', 'parts'])
    .where('run_id', '=', runId)
    .where('node_id', '=', nodeId)
}
