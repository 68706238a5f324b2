import { type Dialect, Kysely, PostgresDialect, type PostgresPool } from 'kysely'
import type pg from 'pg'
import { PostgresCompiler } from '../by-dialect.ts'
import type { Tables } from '../schema.ts'

/** Runs one statement and returns its result. */
export type RunStatement = (text: string, values: readonly unknown[]) => Promise<pg.QueryResult>

/** Creates queries that `runStatement` executes: it chooses the connection. */
export function createQueries(runStatement: RunStatement): Kysely<Tables> {
  const connection = { query: runStatement, release() {} }
  const pool = { connect: async () => connection, end: async () => {} } as unknown as PostgresPool
  return new Kysely({ dialect: new OwnDialect({ pool }) as Dialect })
}

class OwnDialect extends PostgresDialect {
  override createQueryCompiler(): PostgresCompiler {
    return new PostgresCompiler()
  }
}
