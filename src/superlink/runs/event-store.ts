import { sql } from 'kysely'
import { isoTimestamp } from '../../base/clock.ts'
import type { RunId, TaskId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import type { RunEvent } from './events.ts'

/** Queries of the `task_event` table, which no other file writes. */

export async function insert(
  tx: Db,
  event: { runId: RunId; taskId: TaskId; at: number; event: string; data: string },
): Promise<void> {
  const { runId, taskId, at, data } = event
  await tx
    .insertInto('task_event')
    .values(fitting('task_event', { run_id: runId, task_id: taskId, at, event: event.event, data }))
    .execute()
}

export async function count(db: Db, runId: RunId): Promise<number> {
  const row = await db
    .selectFrom('task_event')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('run_id', '=', runId)
    .executeTakeFirst()
  return Number(row?.count ?? 0)
}

export async function listAfter(db: Db, runId: RunId, afterId: bigint): Promise<RunEvent[]> {
  const rows = await db
    .selectFrom('task_event')
    .selectAll()
    .where('run_id', '=', runId)
    .where('id', '>', Number(afterId))
    .orderBy('id')
    .execute()
  return rows.map((row) => ({
    id: BigInt(row.id),
    timestamp: isoTimestamp(row.at),
    runId: row.run_id,
    taskId: row.task_id,
    event: row.event,
    data: row.data,
  }))
}

/** Removes some of the events of a run; returns whether there were any. */
export async function removeSome(tx: Db, runId: RunId): Promise<boolean> {
  const some = tx
    .selectFrom('task_event')
    .select('id')
    .where('run_id', '=', runId)
    .limit(sql.lit(limits.rowsPerRemoval))
  const { numDeletedRows } = await tx.deleteFrom('task_event').where('id', 'in', some).executeTakeFirstOrThrow()
  return numDeletedRows > 0
}
