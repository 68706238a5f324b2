import { AsyncLocalStorage } from 'node:async_hooks'
import { type DatabaseConnection, type Driver, SqliteDialect, type SqliteDialectConfig, SqliteDriver } from 'kysely'

/**
 * The SQLite dialect for readers. Its statements run only while no transaction does on the same connection: a read between
 * two statements of a transaction would see rows that may still be rolled back. Waiting costs nothing: statements run on
 * this thread, and a transaction awaits only its own.
 */
export class ReadDialect extends SqliteDialect {
  readonly #config: SqliteDialectConfig
  readonly #running: () => Promise<void> | undefined

  /** `running` returns the end of the transaction that runs on this connection now. */
  constructor(config: SqliteDialectConfig, running: () => Promise<void> | undefined) {
    super(config)
    this.#config = config
    this.#running = running
  }

  override createDriver(): Driver {
    return new ReadDriver(this.#config, this.#running)
  }
}

class ReadDriver extends SqliteDriver {
  readonly #running: () => Promise<void> | undefined
  #connection: DatabaseConnection | undefined

  constructor(config: SqliteDialectConfig, running: () => Promise<void> | undefined) {
    super(config)
    this.#running = running
  }

  override async init(): Promise<void> {
    await super.init()
    this.#connection = this.#waiting(await super.acquireConnection())
  }

  /** Readers need no turns: each of their statements is done at once. */
  override async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection as DatabaseConnection
  }

  override async releaseConnection(): Promise<void> {}

  #waiting(connection: DatabaseConnection): DatabaseConnection {
    const executeQuery: DatabaseConnection['executeQuery'] = async (query) => {
      ensureOutsideTransaction('a read of what is committed')
      // The statement runs in the same turn as the last look, so that no transaction begins in between.
      for (let running = this.#running(); running; running = this.#running()) await running
      return connection.executeQuery(query)
    }
    return {
      executeQuery,
      async *streamQuery<R>(query: Parameters<typeof executeQuery>[0]) {
        yield await executeQuery<R>(query)
      },
    }
  }
}

const inTransaction = new AsyncLocalStorage<true>()

/** Runs the body of a transaction. */
export function asTransaction<T>(body: () => Promise<T>): Promise<T> {
  return inTransaction.run(true, body)
}

/**
 * Throws when called by the body of a transaction: the transaction would wait for itself, because both a second transaction
 * and a read of committed rows wait for the end of the first.
 */
export function ensureOutsideTransaction(what: string): void {
  if (inTransaction.getStore()) throw new Error(`A transaction must not start ${what}: it has a handle of its own.`)
}
