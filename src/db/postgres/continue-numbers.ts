import { sql } from 'kysely'
import type { Database } from '../database.ts'

/** Lets columns that PostgreSQL numbers go on after the rows that were copied with their numbers. */
export async function continueNumbers(db: Pick<Database, 'transaction'>): Promise<void> {
  await db.transaction(async (tx) => {
    const { rows } = await sql<{ table_name: string; column_name: string }>`
      SELECT table_name, column_name FROM information_schema.columns
      WHERE table_schema = current_schema() AND is_identity = 'YES'`.execute(tx)
    for (const { table_name: table, column_name: column } of rows) {
      const last = sql`SELECT COALESCE(MAX(${sql.ref(column)}), 0) + 1 FROM ${sql.table(table)}`
      await sql`SELECT setval(pg_get_serial_sequence(${table}, ${column}), (${last}), false)`.execute(tx)
    }
  })
}
