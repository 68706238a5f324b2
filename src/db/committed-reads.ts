import { AsyncLocalStorage } from 'node:async_hooks'
import { type DatabaseConnection, type Driver, SqliteDialect, type SqliteDialectConfig, SqliteDriver } from 'kysely'

/** What a statement must wait for now, if anything. */
type Wait = () => Promise<void> | undefined

/**
 * The SQLite dialect, whose statements wait as long as `wait` returns a promise. A statement is done at once after the last
 * look, so that no transaction begins in between.
 */
export class WaitingDialect extends SqliteDialect {
  readonly #config: SqliteDialectConfig
  readonly #wait: Wait

  constructor(config: SqliteDialectConfig, wait: Wait) {
    super(config)
    this.#config = config
    this.#wait = wait
  }

  override createDriver(): Driver {
    return new WaitingDriver(this.#config, this.#wait)
  }
}

class WaitingDriver extends SqliteDriver {
  readonly #wait: Wait
  #connection: DatabaseConnection | undefined

  constructor(config: SqliteDialectConfig, wait: Wait) {
    super(config)
    this.#wait = wait
  }

  override async init(): Promise<void> {
    await super.init()
    this.#connection = this.#waiting(await super.acquireConnection())
  }

  /** Callers do not exclude each other: each statement is done at once, and transactions queue up elsewhere. */
  override async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection as DatabaseConnection
  }

  override async releaseConnection(): Promise<void> {}

  #waiting(connection: DatabaseConnection): DatabaseConnection {
    const executeQuery: DatabaseConnection['executeQuery'] = async (query) => {
      for (let wait = this.#wait(); wait; wait = this.#wait()) await wait
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

/**
 * For readers: a statement waits while a transaction runs on the same connection, for it would see rows that may still be
 * rolled back. `running` returns the end of that transaction.
 */
export function unlessRunning(running: Wait): Wait {
  return () => {
    ensureOutsideTransaction('a read of what is committed')
    return running()
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
