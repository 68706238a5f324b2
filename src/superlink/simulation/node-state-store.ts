import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { NodeId, RunId } from '../../base/ids.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import { type RecordDict, RecordDictSchema } from '../../gen/flwr/proto/recorddict_pb.ts'

/**
 * Queries of the `virtual_node` table: what ClientApps keep from message to message, by run and node. On disk, so that ten
 * thousand nodes with a state need no memory. Nobody else writes it.
 */

export async function find(db: Db, runId: RunId, nodeId: NodeId): Promise<RecordDict | undefined> {
  const row = await db
    .selectFrom('virtual_node')
    .select('state')
    .where('run_id', '=', runId)
    .where('node_id', '=', nodeId)
    .executeTakeFirst()
  return row && fromBinary(RecordDictSchema, row.state)
}

export async function put(tx: Db, runId: RunId, nodeId: NodeId, record: RecordDict): Promise<void> {
  const state = toBinary(RecordDictSchema, record)
  await tx
    .insertInto('virtual_node')
    .values(fitting('virtual_node', { run_id: runId, node_id: nodeId, state }))
    .onConflict((conflict) => conflict.columns(['run_id', 'node_id']).doUpdateSet({ state }))
    .execute()
}

export async function removeOfRun(tx: Db, runId: RunId): Promise<void> {
  await tx.deleteFrom('virtual_node').where('run_id', '=', runId).execute()
}
