import { createHash } from 'node:crypto'
import { type SqlBool, sql } from 'kysely'
import type { Database, Db } from './database.ts'
import type { Tables } from './schema.ts'

/** Copies all rows of a database into another one, of any engine, and compares both. Memory holds a few rows at a time. */

type Table = keyof Tables
type AnyRow = Record<string, unknown>

/** The columns that tell the rows of a table apart, so that a table without them does not compile. */
const keys: Record<Table, readonly string[]> = {
  setting: ['name'],
  simulation_settings: ['federation'],
  node: ['node_id'],
  series: ['series_id'],
  fab: ['fab_hash'],
  part: ['name', 'position'],
  run: ['run_id'],
  run_log: ['id'],
  checkpoint: ['run_id', 'position'],
  task: ['task_id'],
  task_event: ['id'],
  event: ['position'],
  outbox: ['position'],
  object: ['object_id'],
  message: ['position'],
  message_object: ['message_id', 'object_id'],
  participant: ['run_id', 'node_id'],
  push_session: ['session_id'],
  nonce: ['namespace', 'nonce'],
  virtual_node: ['run_id', 'node_id'],
}

export const tables = Object.keys(keys) as Table[]

/** Rows may hold 512 KiB. */
const rowsPerBatch = 40

/** How many rows a table has, and a hash of them all in which their order has no part. */
export interface Fingerprint {
  readonly rows: number
  readonly hash: string
}

/** Returns a table that has rows; `undefined` if there is none. */
export async function findFilledTable(db: Db): Promise<Table | undefined> {
  for (const table of tables) {
    const row = await db.selectFrom(table).select(sql.lit(1).as('one')).limit(sql.lit(1)).executeTakeFirst()
    if (row) return table
  }
  return undefined
}

/** Copies a table into an empty one, in transactions of a few rows, and returns what was read. */
export async function copyTable(table: Table, from: Db, to: Database): Promise<Fingerprint> {
  const sum = new RowSum()
  for await (const rows of listRows(table, from)) {
    for (const row of rows) sum.add(row)
    await to.transaction((tx) =>
      tx
        .insertInto(table)
        .values(rows as never)
        .execute(),
    )
  }
  return sum.fingerprint()
}

export async function fingerprint(table: Table, db: Db): Promise<Fingerprint> {
  const sum = new RowSum()
  for await (const rows of listRows(table, db)) for (const row of rows) sum.add(row)
  return sum.fingerprint()
}

async function* listRows(table: Table, db: Db): AsyncGenerator<AnyRow[]> {
  const columns = keys[table]
  const tuple = sql.join(columns.map((column) => sql.ref(column)))
  for (let last: AnyRow | undefined; ; ) {
    let query = db.selectFrom(table).selectAll().limit(sql.lit(rowsPerBatch))
    for (const column of columns) query = query.orderBy(sql.ref(column))
    const place = last
    if (place) query = query.where(sql<SqlBool>`(${tuple}) > (${sql.join(columns.map((column) => place[column]))})`)
    const rows = (await query.execute()) as AnyRow[]
    if (rows.length > 0) yield rows
    if (rows.length < rowsPerBatch) return
    last = rows.at(-1)
  }
}

/** Adds up hashes of rows. */
class RowSum {
  #rows = 0
  #sum = 0n

  add(row: AnyRow): void {
    const columns = Object.keys(row).sort()
    const text = JSON.stringify(columns.map((column) => [column, toText(row[column])]))
    this.#rows++
    this.#sum = (this.#sum + BigInt(`0x${hashOf(text)}`)) % 2n ** 256n
  }

  fingerprint(): Fingerprint {
    return { rows: this.#rows, hash: this.#sum.toString(16).padStart(64, '0') }
  }
}

/** The same for both engines: PostgreSQL stores no NUL in texts. */
function toText(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: hashOf(value) }
  if (typeof value === 'bigint') return { id: String(value) }
  return typeof value === 'string' ? value.replaceAll('\0', '\u2400') : value
}

function hashOf(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
