import { sql } from 'kysely'
import { DomainError } from '../base/errors.ts'
import type { RunId, TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { shortened } from '../base/printable.ts'
import { fitting } from '../db/column-limits.ts'
import type { Db } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { type Statement, statement } from '../db/statement.ts'
import { type Task, type TaskStatus, type TaskSubStatus, type TaskType, taskTypes } from './task.ts'

/** Queries of the `task` table; no other file writes it. */

/** Literally the condition of the index of open tasks: SQLite does not use it for `status = 'pending'` alone. */
const isOpen = sql<boolean>`status != 'finished'`

type NewTask = Pick<Task, 'taskId' | 'runId' | 'type' | 'fabHash' | 'pendingAt' | 'messageId'>

const insertOne = statement<Omit<NewTask, 'messageId'> & { readonly messageId: string | null }, never>((db, value) =>
  db.insertInto('task').values(
    fitting('task', {
      task_id: value('taskId'),
      run_id: value('runId'),
      type: value('type'),
      fab_hash: value('fabHash'),
      status: 'pending',
      sub_status: '',
      details: '',
      pending_at: value('pendingAt'),
      starting_at: null,
      running_at: null,
      finished_at: null,
      token_hash: null,
      lease_until: null,
      launches: 0,
      message_id: value('messageId'),
    }),
  ),
)

export async function insert(tx: Db, task: NewTask): Promise<void> {
  await insertOne(tx, { ...task, messageId: task.messageId ?? null })
}

const selectOne = statement<{ taskId: TaskId }, Row<'task'>>((db, value) =>
  db.selectFrom('task').selectAll().where('task_id', '=', value('taskId')),
)

export async function find(db: Db, taskId: TaskId): Promise<Task | undefined> {
  const [row] = (await selectOne(db, { taskId })).rows
  return row && toTask(row)
}

const selectByToken = statement<{ tokenHash: string }, Row<'task'>>((db, value) =>
  db.selectFrom('task').selectAll().where('token_hash', '=', value('tokenHash')),
)

export async function findByTokenHash(db: Db, tokenHash: string): Promise<Task | undefined> {
  const [row] = (await selectByToken(db, { tokenHash })).rows
  return row && toTask(row)
}

type Pending = { readonly one: TaskType; readonly other: TaskType; readonly runId?: RunId | undefined }
const selectPending = (db: Db, value: <Name extends keyof Pending>(name: Name) => Pending[Name]) =>
  db
    .selectFrom('task')
    .selectAll()
    .where(isOpen)
    .where('status', '=', sql.lit('pending'))
    .where('type', 'in', [value('one'), value('other')])
    .orderBy('pending_at')
    .limit(sql.lit(1))
const selectOldest = statement<Pending, Row<'task'>>(selectPending)
const selectOldestOfRun = statement<Pending, Row<'task'>>((db, value) =>
  selectPending(db, value).where('run_id', '=', value('runId') as RunId),
)

export async function findOldestPending(db: Db, types: readonly string[], runId?: RunId): Promise<Task | undefined> {
  const [one, other = one] = taskTypes.filter((type) => types.includes(type))
  if (one === undefined || other === undefined) return undefined
  const select = runId === undefined ? selectOldest : selectOldestOfRun
  const [row] = (await select(db, { one, other, runId })).rows
  return row && toTask(row)
}

export async function listPendingRuns(db: Db, type: string): Promise<RunId[]> {
  const rows = await db
    .selectFrom('task')
    .select('run_id')
    .where(isOpen)
    .where('status', '=', sql.lit('pending'))
    .where('type', '=', type)
    .orderBy('pending_at')
    .limit(sql.lit(100))
    .execute()
  return [...new Set(rows.map((row) => row.run_id as RunId))]
}

export async function listByRun(db: Db, runId: RunId): Promise<Task[]> {
  return (await db.selectFrom('task').selectAll().where('run_id', '=', runId).execute()).map(toTask)
}

const selectOpen = statement<object, Row<'task'>>((db) => db.selectFrom('task').selectAll().where(isOpen))

export async function listOpen(db: Db): Promise<Task[]> {
  return (await selectOpen(db, {})).rows.map(toTask)
}

/** How many tasks of this type are open, by status. */
export async function countOpen(db: Db, type: TaskType): Promise<ReadonlyMap<TaskStatus, number>> {
  const rows = await db
    .selectFrom('task')
    .select(({ fn }) => ['status', fn.countAll<number>().as('count')])
    .where(isOpen)
    .where('type', '=', type)
    .groupBy('status')
    .execute()
  return new Map(rows.map(({ status, count }) => [status as TaskStatus, Number(count)]))
}

const deleteOne = statement<{ taskId: TaskId }, never>((db, value) =>
  db.deleteFrom('task').where('task_id', '=', value('taskId')),
)

export async function remove(tx: Db, taskId: TaskId): Promise<void> {
  await deleteOne(tx, { taskId })
}

export async function removeOfRun(tx: Db, runId: RunId): Promise<void> {
  await tx.deleteFrom('task').where('run_id', '=', runId).execute()
}

/** Literally the condition of the index of finished runs. */
const isFinishedRun = sql<boolean>`status = 'finished' AND type = 'flwr-serverapp'`

/**
 * Notes that a request of the app was stored. Returns false if it was stored before: the app sends it again when the response
 * was lost. A launch of the app counts its requests from 1; those without a number are always new.
 * Throws `invalid-request` for a number that the database cannot keep.
 */
export async function noteBatch(
  tx: Db,
  taskId: TaskId,
  column: 'log_batch' | 'event_batch',
  batch: bigint,
): Promise<boolean> {
  if (batch === 0n) return true
  const count = Number(batch)
  if (!Number.isSafeInteger(count))
    throw new DomainError('invalid-request', `The request has the number ${batch}, which is too large: count from 1.`)
  const { numUpdatedRows } = await tx
    .updateTable('task')
    .set({ [column]: count })
    .where('task_id', '=', taskId)
    .where(column, '<', count)
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0
}

/** A new launch counts from the beginning. */
export async function forgetBatches(tx: Db, taskId: TaskId): Promise<void> {
  await tx.updateTable('task').set({ log_batch: 0, event_batch: 0 }).where('task_id', '=', taskId).execute()
}

export const finishedRunsPerLook = 100

/** Some of the runs that have finished before this instant, but for the newest of them. */
export async function listFinishedRuns(
  db: Db,
  { finishedBefore, butNewest }: { finishedBefore: number; butNewest: number },
): Promise<RunId[]> {
  const rows = await db
    .selectFrom('task')
    .select('run_id')
    .where(isFinishedRun)
    .where('finished_at', '<', finishedBefore)
    .orderBy('finished_at', 'desc')
    .limit(sql.lit(finishedRunsPerLook))
    .offset(butNewest)
    .execute()
  return rows.map((row) => row.run_id as RunId)
}

interface Change {
  readonly status?: TaskStatus
  readonly subStatus?: TaskSubStatus
  readonly details?: string
  readonly startingAt?: number | null
  readonly runningAt?: number
  readonly finishedAt?: number
  readonly leaseUntil?: number | null
  readonly tokenHash?: string | null
  readonly launches?: number
}

const columnOf = {
  status: 'status',
  subStatus: 'sub_status',
  details: 'details',
  startingAt: 'starting_at',
  runningAt: 'running_at',
  finishedAt: 'finished_at',
  leaseUntil: 'lease_until',
  tokenHash: 'token_hash',
  launches: 'launches',
} as const satisfies Record<keyof Change, keyof Row<'task'>>

/** A statement for each set of fields that change together. */
const updates = new Map<string, Statement<Change & { readonly taskId: TaskId }, never>>()

function updateOf(fields: readonly (keyof Change)[]): Statement<Change & { readonly taskId: TaskId }, never> {
  const key = fields.join()
  const known = updates.get(key)
  if (known) return known
  const made = statement<Change & { readonly taskId: TaskId }, never>((db, value) =>
    db
      .updateTable('task')
      .set(fitting('task', Object.fromEntries(fields.map((field) => [columnOf[field], value(field)]))))
      .where('task_id', '=', value('taskId')),
  )
  updates.set(key, made)
  return made
}

export async function update(tx: Db, taskId: TaskId, change: Change): Promise<void> {
  const details = change.details === undefined ? {} : { details: shortened(change.details, limits.reasonCharactersMax) }
  const fields = (Object.keys(columnOf) as (keyof Change)[]).filter((field) => change[field] !== undefined)
  await updateOf(fields)(tx, { ...change, ...details, taskId })
}

/** What a task is read from. */
export type TaskRow = Omit<Row<'task'>, 'log_batch' | 'event_batch'>

export function toTask(row: TaskRow): Task {
  return {
    taskId: row.task_id as TaskId,
    runId: row.run_id as RunId,
    type: row.type as TaskType,
    fabHash: row.fab_hash,
    status: row.status as TaskStatus,
    subStatus: row.sub_status as TaskSubStatus,
    details: row.details,
    pendingAt: row.pending_at,
    startingAt: row.starting_at ?? undefined,
    runningAt: row.running_at ?? undefined,
    finishedAt: row.finished_at ?? undefined,
    leaseUntil: row.lease_until ?? undefined,
    launches: row.launches,
    messageId: row.message_id ?? undefined,
  }
}
