import type { NodeId, RunId } from '../../base/ids.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Database, Db } from '../../db/database.ts'
import {
  findValue,
  forgetParts,
  type KeptValue,
  keepValue,
  type PreparedValue,
  prepareValue,
} from '../../db/large-values.ts'
import type { Row } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'
import { type RecordDict, RecordDictSchema } from '../../gen/flwr/proto/recorddict_pb.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'
import { bytesInTurns } from '../../rpc/encode-in-turns.ts'

/**
 * Queries of the `virtual_node` table, which no other file writes: what ClientApps keep from message to message, by run and
 * node. On disk, so that ten thousand nodes with a state need no memory.
 */

const selectState = statement<{ runId: RunId; nodeId: NodeId }, KeptValue>((db, value) =>
  db
    .selectFrom('virtual_node')
    .select(['state as content', 'parts'])
    .where('run_id', '=', value('runId'))
    .where('node_id', '=', value('nodeId')),
)

const setState = statement<Row<'virtual_node'>, never>(
  (db, value) =>
    db
      .insertInto('virtual_node')
      .values(
        fitting('virtual_node', {
          run_id: value('run_id'),
          node_id: value('node_id'),
          state: value('state'),
          parts: value('parts'),
        }),
      )
      .onConflict((conflict) =>
        conflict
          .columns(['run_id', 'node_id'])
          .doUpdateSet((eb) => ({ state: eb.ref('excluded.state'), parts: eb.ref('excluded.parts') })),
      ) as never,
)

export async function find(db: Db, runId: RunId, nodeId: NodeId, makeRoom?: MakeRoom): Promise<RecordDict | undefined> {
  const state = await findValue(db, async () => (await selectState(db, { runId, nodeId })).rows[0], makeRoom)
  return state && decodeInTurns(RecordDictSchema, state)
}

/** Stores a large state, for `put`. */
export async function prepare(db: Database, record: RecordDict): Promise<PreparedValue> {
  return prepareValue(db, await bytesInTurns(RecordDictSchema, record))
}

/** Writes nothing if the state is the same as before: most apps keep none. */
export async function put(tx: Db, runId: RunId, nodeId: NodeId, prepared: PreparedValue): Promise<void> {
  const [former = noState] = (await selectState(tx, { runId, nodeId })).rows
  if (isSame(former, prepared)) return
  const { content: state, parts } = await keepValue(tx, prepared)
  await setState(tx, { run_id: runId, node_id: nodeId, state, parts })
  await forgetParts(tx, former.parts)
}

const noState: KeptValue = { content: new Uint8Array(), parts: null }

function isSame(one: KeptValue, other: KeptValue): boolean {
  return one.parts === null && other.parts === null && Buffer.compare(one.content, other.content) === 0
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
