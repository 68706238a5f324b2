import type { InsertQueryBuilder } from 'kysely'
import { fitting } from './column-limits.ts'
import type { Db } from './database.ts'
import type { NewRow, Tables } from './schema.ts'
import { type Statement, statement } from './statement.ts'

/** How many rows one statement inserts: few sizes, so that each is compiled and prepared once. */
const sizes = [32, 4, 1] as const

type Values = Record<string, unknown>
type Insert<Table extends keyof Tables> = InsertQueryBuilder<Tables, Table, never>

/**
 * Creates a function that inserts many rows with few statements. The values are bound, which costs the database less than
 * reading them from JSON.
 *
 * @param finish adds to each statement, e.g. what happens on a conflict.
 */
export function rowInserter<Table extends keyof Tables, Column extends keyof NewRow<Table> & string>(
  table: Table,
  columns: readonly Column[],
  finish: (insert: Insert<Table>) => Insert<Table> = (insert) => insert,
): (db: Db, rows: readonly Pick<NewRow<Table>, Column>[]) => Promise<void> {
  const statements = sizes.map((size) => ({ size, insert: statementFor(table, columns, size, finish) }))
  return async (db, rows) => {
    let start = 0
    for (const { size, insert } of statements) {
      for (; rows.length - start >= size; start += size) {
        const values: Values = {}
        for (let index = 0; index < size; index++) {
          const row = rows[start + index] as Pick<NewRow<Table>, Column>
          for (const column of columns) values[`${column} ${index}`] = row[column]
        }
        await insert(db, values)
      }
    }
  }
}

function statementFor<Table extends keyof Tables>(
  table: Table,
  columns: readonly string[],
  size: number,
  finish: (insert: Insert<Table>) => Insert<Table>,
): Statement<Values, never> {
  return statement<Values, never>((db, value) => {
    const rowOf = (index: number): NewRow<Table> =>
      Object.fromEntries(columns.map((column) => [column, value(`${column} ${index}`)])) as never
    const insert = db
      .insertInto(table)
      .values(Array.from({ length: size }, (_, at) => fitting(table, rowOf(at))) as never)
    return finish(insert as never) as never
  })
}
