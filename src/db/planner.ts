import { type Expression, type RawBuilder, sql } from 'kysely'

/** The same column, without its index: another condition of the query selects fewer rows. */
export function notIndexed<T>(column: Expression<T>): RawBuilder<T> {
  return sql<T>`+${column}`
}
