import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { Kysely, type SqliteDialectConfig } from 'kysely'
import { unlessRunning, WaitingDialect } from './committed-reads.ts'
import { QueryTurns } from './query-turns.ts'
import { fromStored, toStored } from './row.ts'
import type { Tables } from './schema.ts'

/** Queries of the connection that writes, within the transaction that is open. */
export function createWriter(connection: DatabaseSync): Kysely<Tables> {
  return new Kysely({ dialect: new WaitingDialect(configOf(connection), turns.wait) })
}

/** Queries of readers. They wait for the end of the `running` transaction if they share its connection. */
export function createReader(connection: DatabaseSync, running: () => Promise<void> | undefined): Kysely<Tables> {
  const committed = unlessRunning(running)
  return new Kysely({ dialect: new WaitingDialect(configOf(connection), () => committed() ?? turns.wait()) })
}

/** One for all connections: they share the thread. */
const turns = new QueryTurns()

/** `node:sqlite` as Kysely takes it. Prepared statements are kept: the set of queries is small and fixed. */
function configOf(connection: DatabaseSync): SqliteDialectConfig {
  const statements = new Map<string, PreparedStatement>()
  return {
    database: {
      close: () => connection.close(),
      prepare(sql) {
        const known = statements.get(sql)
        if (known) return known
        const prepared = new PreparedStatement(connection.prepare(sql))
        // Lists of values make new texts; keep memory bounded all the same.
        if (statements.size >= statementsMax) statements.clear()
        statements.set(sql, prepared)
        return prepared
      },
    },
  }
}

const statementsMax = 500

class PreparedStatement {
  readonly reader: boolean
  readonly #statement: StatementSync

  constructor(statement: StatementSync) {
    statement.setReadBigInts(true)
    this.#statement = statement
    this.reader = statement.columns().length > 0
  }

  all(parameters: readonly unknown[]): unknown[] {
    return this.#statement.all(...bind(parameters)).map((row) => fromStored(row as Record<string, unknown>))
  }

  run(parameters: readonly unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint } {
    return this.#statement.run(...bind(parameters))
  }

  *iterate(parameters: readonly unknown[]): IterableIterator<unknown> {
    for (const row of this.#statement.iterate(...bind(parameters))) yield fromStored(row as Record<string, unknown>)
  }
}

function bind(parameters: readonly unknown[]): SQLInputValue[] {
  return parameters.map(toStored) as SQLInputValue[]
}
