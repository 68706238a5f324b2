import { sql } from 'kysely'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import type { Row } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'

/** Queries of the `run_log` table, which no other file writes. */

/** A row holds so many characters: rows are written and read in one go. */
const rowCharacters = 64 * 1024

/** Appends text at this instant, or right after the last row if that is not earlier: the instants of a log ascend. */
export async function append(tx: Db, runId: RunId, text: string, atMicros: number): Promise<void> {
  const last = await tx
    .selectFrom('run_log')
    .select(({ fn }) => fn.max('logged_at_us').as('at'))
    .where('run_id', '=', runId)
    .executeTakeFirst()
  let at = Math.max(atMicros, Number(last?.at ?? 0) + 1)
  for (const row of rowsOf(text)) {
    await tx
      .insertInto('run_log')
      .values(fitting('run_log', { run_id: runId, logged_at_us: at, text: row }))
      .execute()
    at += 1
  }
}

function* rowsOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    let end = start + rowCharacters
    // Both halves of a character stay together.
    if ((text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end += 1
    yield text.slice(start, end)
    start = end
  }
}

type After = { readonly runId: RunId; readonly cursor: number }

const countAfter = statement<After, { rows: number }>((db, value) =>
  db
    .selectFrom('run_log')
    .select(({ fn }) => fn.countAll<number>().as('rows'))
    .where('run_id', '=', value('runId'))
    .where('logged_at_us', '>', value('cursor')),
)

/** About how many bytes there are after a cursor, and at least that many. */
export async function sizeAfter(db: Db, runId: RunId, cursor: number): Promise<number> {
  const [counted] = (await countAfter(db, { runId, cursor })).rows
  return Number(counted?.rows) * rowCharacters
}

const rowsPerQuery = 100
type LogRow = Pick<Row<'run_log'>, 'logged_at_us' | 'text'>

const selectAfter = statement<After, LogRow>((db, value) =>
  db
    .selectFrom('run_log')
    .select(['logged_at_us', 'text'])
    .where('run_id', '=', value('runId'))
    .where('logged_at_us', '>', value('cursor'))
    .orderBy('logged_at_us')
    .limit(sql.lit(rowsPerQuery)),
)

/** The next rows after a cursor, none if there are no more. */
export async function listAfter(db: Db, runId: RunId, cursor: number): Promise<LogRow[]> {
  return (await selectAfter(db, { runId, cursor })).rows
}

/** Removes some of the log; returns whether there was any. */
export async function removeSome(tx: Db, runId: RunId): Promise<boolean> {
  const some = tx.selectFrom('run_log').select('id').where('run_id', '=', runId).limit(sql.lit(limits.rowsPerRemoval))
  const { numDeletedRows } = await tx.deleteFrom('run_log').where('id', 'in', some).executeTakeFirstOrThrow()
  return numDeletedRows > 0
}
