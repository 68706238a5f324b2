import type { RunId } from '../../base/ids.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import type { Row } from '../../db/schema.ts'

/** Queries of the `run_log` table, which no other file writes. */

/** Appends a part at this instant, or right after the last part if that is not earlier: the instants of a log ascend. */
export async function append(tx: Db, runId: RunId, text: string, atMicros: number): Promise<void> {
  const last = await tx
    .selectFrom('run_log')
    .select(({ fn }) => fn.max('logged_at_us').as('at'))
    .where('run_id', '=', runId)
    .executeTakeFirst()
  await tx
    .insertInto('run_log')
    .values(fitting('run_log', { run_id: runId, logged_at_us: Math.max(atMicros, Number(last?.at ?? 0) + 1), text }))
    .execute()
}

export async function listAfter(
  db: Db,
  runId: RunId,
  cursor: number,
): Promise<Pick<Row<'run_log'>, 'logged_at_us' | 'text'>[]> {
  return db
    .selectFrom('run_log')
    .select(['logged_at_us', 'text'])
    .where('run_id', '=', runId)
    .where('logged_at_us', '>', cursor)
    .orderBy('logged_at_us')
    .execute()
}
