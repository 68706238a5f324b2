import { type Expression, sql } from 'kysely'
import { byDialect, type DialectExpression } from './by-dialect.ts'

/** The same column, without its index in SQLite: another condition of the query selects fewer rows. PostgreSQL counts rows. */
export function notIndexed<T>(column: Expression<T>): DialectExpression<T> {
  return byDialect({ sqlite: sql<T>`+${column}`, postgres: sql<T>`${column}` })
}
