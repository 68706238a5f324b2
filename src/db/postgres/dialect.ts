import { type Dialect, Kysely, PostgresDialect, type PostgresPool } from 'kysely'
import type pg from 'pg'
import { PostgresCompiler } from '../by-dialect.ts'
import type { Tables } from '../schema.ts'

/** Runs one statement and returns its result. */
export type Run = (text: string, values: readonly unknown[]) => Promise<pg.QueryResult>

/** Creates queries that `run` runs. Connections are its own affair. */
export function createQueries(run: Run): Kysely<Tables> {
  const connection = { query: run, release() {} }
  const pool = { connect: async () => connection, end: async () => {} } as unknown as PostgresPool
  return new Kysely({ dialect: new OwnDialect({ pool }) as Dialect })
}

class OwnDialect extends PostgresDialect {
  override createQueryCompiler(): PostgresCompiler {
    return new PostgresCompiler()
  }
}
