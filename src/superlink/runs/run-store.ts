import { type ExpressionWrapper, expressionBuilder, type SqlBool } from 'kysely'
import type { RunId, SeriesId } from '../../base/ids.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import { findValue, forgetParts, keepValue, type PreparedValue } from '../../db/large-values.ts'
import type { NewRow, Row, Tables } from '../../db/schema.ts'
import { statement } from '../../db/statement.ts'
import type { TaskRow } from '../../tasks/task-store.ts'

/** Queries of the `run` and `series` tables, which no other file writes. A run is read together with its primary task. */

export type RunRow = Row<'run'> & Omit<TaskRow, 'task_id' | 'run_id' | 'fab_hash'>

const taskColumns = [
  'task.type',
  'task.status',
  'task.sub_status',
  'task.details',
  'task.pending_at',
  'task.starting_at',
  'task.running_at',
  'task.finished_at',
  'task.token_hash',
  'task.lease_until',
  'task.launches',
  'task.message_id',
] as const

function selectRuns(db: Db) {
  return db
    .selectFrom('run')
    .innerJoin('task', 'task.task_id', 'run.primary_task_id')
    .selectAll('run')
    .select(taskColumns)
}

export async function insert(tx: Db, run: NewRow<'run'>): Promise<void> {
  await tx.insertInto('run').values(fitting('run', run)).execute()
}

const selectOne = statement<{ runId: RunId }, RunRow>((db, value) =>
  selectRuns(db).where('run.run_id', '=', value('runId')),
)

export async function find(db: Db, runId: RunId): Promise<RunRow | undefined> {
  return (await selectOne(db, { runId })).rows[0]
}

const selectStatus = statement<{ runId: RunId }, Pick<Row<'task'>, 'status' | 'sub_status'>>((db, value) =>
  db
    .selectFrom('run')
    .innerJoin('task', 'task.task_id', 'run.primary_task_id')
    .select(['task.status', 'task.sub_status'])
    .where('run.run_id', '=', value('runId')),
)

/** How far the run has come; `undefined` if there is no such run. */
export async function findStatus(
  db: Db,
  runId: RunId,
): Promise<Pick<Row<'task'>, 'status' | 'sub_status'> | undefined> {
  return (await selectStatus(db, { runId })).rows[0]
}

/** Whose runs are listed: those of one account, perhaps with those of its organisation, or all. */
export type RunOwners =
  | {
      /** `organization`: set if the same name in another organisation is another account. */
      readonly owner: { readonly ownerAid: string; readonly organization: string | undefined }
      readonly colleaguesIn?: string
    }
  | 'all'

/** What decides which rows a caller sees: those of runs that these owners started. */
export function isOwnedBy(
  table: 'run' | 'event',
  { owner, colleaguesIn }: Exclude<RunOwners, 'all'>,
): ExpressionWrapper<Tables, typeof table, SqlBool> {
  const row = expressionBuilder<Tables, typeof table>()
  const isOf = (organization: string) => row(`${table}.owner_organization`, '=', organization)
  const isOwner = row(`${table}.owner_aid`, '=', owner.ownerAid)
  const isOwn = owner.organization === undefined ? isOwner : row.and([isOwner, isOf(owner.organization)])
  return colleaguesIn === undefined ? isOwn : row.or([isOwn, isOf(colleaguesIn)])
}

/** Newest first. */
export async function list(
  db: Db,
  filter: { owners: RunOwners; limit?: number | undefined; skip?: number | undefined },
): Promise<RunRow[]> {
  let query = selectRuns(db).orderBy('task.pending_at', 'desc')
  if (filter.owners !== 'all') query = query.where(isOwnedBy('run', filter.owners))
  // SQLite skips only where there is a limit.
  if (filter.limit !== undefined || filter.skip !== undefined)
    query = query.limit(filter.limit ?? Number.MAX_SAFE_INTEGER)
  if (filter.skip !== undefined) query = query.offset(filter.skip)
  return query.execute()
}

/** Removes a run and its series. */
export async function remove(tx: Db, run: { readonly runId: RunId; readonly seriesId: SeriesId }): Promise<void> {
  const series = await selectContext(tx, run.seriesId).executeTakeFirst()
  await forgetParts(tx, series?.parts)
  await tx.deleteFrom('series').where('series_id', '=', run.seriesId).execute()
  await tx.deleteFrom('run').where('run_id', '=', run.runId).execute()
}

/** Whether any run has this FAB. */
export async function hasFab(db: Db, fabHash: string): Promise<boolean> {
  const run = await db.selectFrom('run').select('run_id').where('fab_hash', '=', fabHash).executeTakeFirst()
  return run !== undefined
}

export async function addTraffic(
  tx: Db,
  runId: RunId,
  traffic: { sent?: number; received?: number; clientappSeconds?: number },
): Promise<void> {
  await tx
    .updateTable('run')
    .set(({ eb }) => ({
      bytes_sent: eb('bytes_sent', '+', traffic.sent ?? 0),
      bytes_recv: eb('bytes_recv', '+', traffic.received ?? 0),
      clientapp_runtime: eb('clientapp_runtime', '+', traffic.clientappSeconds ?? 0),
    }))
    .where('run_id', '=', runId)
    .execute()
}

/** How long the log of a run is; `undefined` if there is no such run. */
export async function findLogBytes(db: Db, runId: RunId): Promise<number | undefined> {
  const row = await db.selectFrom('run').select('log_bytes').where('run_id', '=', runId).executeTakeFirst()
  return row?.log_bytes
}

export async function setLogBytes(tx: Db, runId: RunId, logBytes: number): Promise<void> {
  await tx.updateTable('run').set({ log_bytes: logBytes }).where('run_id', '=', runId).execute()
}

export async function upsertSeries(
  tx: Db,
  series: Omit<NewRow<'series'>, 'parts' | 'context'> & { context: PreparedValue },
): Promise<void> {
  const former = await selectContext(tx, series.series_id as SeriesId).executeTakeFirst()
  const { content: context, parts } = await keepValue(tx, series.context)
  await tx
    .insertInto('series')
    .values(fitting('series', { ...series, context, parts }))
    .onConflict((conflict) => conflict.column('series_id').doUpdateSet({ context, parts }))
    .execute()
  await forgetParts(tx, former?.parts)
}

/** The context of the last run of a series, as it was encoded. */
export function findContext(db: Db, seriesId: SeriesId, makeRoom?: MakeRoom): Promise<Uint8Array | undefined> {
  return findValue(db, () => selectContext(db, seriesId).executeTakeFirst(), makeRoom)
}

function selectContext(db: Db, seriesId: SeriesId) {
  return db.selectFrom('series').select(['context as content', 'parts']).where('series_id', '=', seriesId)
}
