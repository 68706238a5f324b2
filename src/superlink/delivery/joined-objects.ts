import type { RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, idsOf, inBatches } from '../../db/id-list.ts'
import { statement } from '../../db/statement.ts'
import { splitObjects } from '../../objects/joined-objects.ts'
import { serverApp } from './message-rows.ts'

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

const selectOfRun = statement<{ runId: RunId }, { message_id: string }>((db, value) =>
  db
    .selectFrom('message')
    .select('message_id')
    .where('dst_node_id', '=', serverApp)
    .where('run_id', '=', value('runId'))
    .where('objects', 'is not', null),
)

/** Returns the messages of a run that have their objects in their rows. */
export async function listJoinedOfRun(db: Db, runId: RunId): Promise<string[]> {
  return (await selectOfRun(db, { runId })).rows.map((row) => row.message_id)
}
