import pg from 'pg'
import { errorText } from '../../base/errors.ts'
import { ConnectionRefused, explainRefusal, isConnectionLoss } from './connect-errors.ts'
import { serverLimits } from './server-limits.ts'
import { clientConfig, destroy, prepareSession, promptly, query } from './session.ts'
import type { PostgresTarget } from './target.ts'

/** The connections that read. Each new one reads the password and the files of TLS again: they may have been replaced. */
export class Readers {
  readonly #target: PostgresTarget
  readonly #pool: pg.Pool
  readonly #clients = new Set<pg.ClientBase>()

  constructor(target: PostgresTarget) {
    this.#target = target
    this.#pool = new pg.Pool({
      Client: createClientClass(target),
      connectionTimeoutMillis: serverLimits.connectMs,
      max: serverLimits.readers,
      onConnect: async (client: pg.ClientBase) => {
        // The loss of a connection that is in use fails its query; without a listener it would end the process too.
        client.on('error', () => {})
        this.#clients.add(client)
        client.on('end', () => this.#clients.delete(client))
        await promptly(client, () => prepareSession(client, target))
        await client.query('SET default_transaction_read_only = on')
      },
    } as pg.PoolConfig)
    this.#pool.on('error', () => {})
  }

  /** Runs a statement. Throws an error that `isConnectionLoss` recognises if the server is lost or refuses the connection. */
  async query(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    const client = await this.#connect()
    let failure: Error | undefined
    try {
      return await query(client, text, values)
    } catch (error) {
      failure = isConnectionLoss(error) ? (error as Error) : undefined
      throw error
    } finally {
      client.release(failure)
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect()
    } catch (error) {
      if (isConnectionLoss(error)) throw error
      throw new ConnectionRefused(errorText(explainRefusal(error, this.#target)), { cause: error })
    }
  }

  /** Ends all connections, also those with a read under way: a server that has vanished sends no response. */
  cut(): void {
    for (const client of this.#clients) destroy(client)
  }

  end(): Promise<void> {
    return this.#pool.end()
  }
}

/** The pool creates connections within event handlers, which must not throw: a file that cannot be read fails `connect`. */
function createClientClass(target: PostgresTarget): new () => pg.Client {
  return class extends pg.Client {
    readonly #problem: Error | undefined

    constructor() {
      let config: pg.ClientConfig = {}
      let problem: Error | undefined
      try {
        config = clientConfig(target)
      } catch (error) {
        problem = error as Error
      }
      super(config)
      this.#problem = problem
    }

    override connect(): Promise<pg.Client>
    override connect(callback: ((error: Error) => void) | ((error: null, client: pg.Client) => void)): void
    // biome-ignore lint/suspicious/noExplicitAny: both forms of the callback that the types of pg know
    override connect(callback?: any): any {
      const problem = this.#problem
      if (problem && callback) setImmediate(callback, problem)
      else if (problem) return Promise.reject(problem)
      else return callback ? super.connect(callback) : super.connect()
    }
  }
}
