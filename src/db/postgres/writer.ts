import { randomUUID } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { UsageError } from '../../base/errors.ts'
import type { Writer } from '../commit-group.ts'
import { explainRefusal, isConnectionLoss } from './connect-errors.ts'
import { endFormer, tryLock } from './lock.ts'
import { prepareTables } from './prepare-tables.ts'
import { serverLimits } from './server-limits.ts'
import { clientConfig, prepareSession, query } from './session.ts'
import type { PostgresTarget } from './target.ts'

/** Another SuperLink has the lock of the database, or had it since this one began. */
export class DatabaseInUse extends UsageError {}

/** The connection that writes. It holds the lock of the database, and is replaced when it is lost. */
export class WriterConnection implements Writer {
  readonly savesFirst = true
  readonly #target: PostgresTarget
  #client: pg.Client | undefined
  /** The last connection, whose lock the server may not have given back yet. */
  #formerPid: number | undefined
  /** Stored in the database by the SuperLink that writes it. */
  readonly #mark = randomUUID()

  constructor(target: PostgresTarget) {
    this.#target = target
  }

  get isConnected(): boolean {
    return this.#client !== undefined
  }

  get isTransaction(): boolean {
    return this.#client !== undefined && this.#client.getTransactionStatus() !== 'I'
  }

  async exec(sql: string): Promise<void> {
    await this.#use((client) => client.query(sql))
  }

  /** Throws if the transaction was rolled back instead, which PostgreSQL does after a failed statement. */
  async commit(): Promise<void> {
    const { command } = await this.#use((client) => client.query('COMMIT'))
    if (command !== 'COMMIT') throw new Error('The transaction was rolled back.')
  }

  query(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    return this.#use((client) => query(client, text, values))
  }

  /**
   * Connects once, and brings the tables to this release. Throws a DatabaseInUse if another SuperLink has the lock, another
   * UsageError if the server refuses, and another error if it cannot be reached.
   */
  async connect(): Promise<void> {
    const client = new pg.Client(clientConfig(this.#target))
    client.on('error', () => this.#lost(client))
    client.on('end', () => this.#lost(client))
    try {
      await client.connect()
      await prepareSession(client, this.#target)
      await this.#takeLock(client)
      await prepareTables(client, this.#target)
      await this.#leaveMark(client)
      this.#client = client
      this.#formerPid = (client as unknown as { processID: number }).processID
    } catch (error) {
      destroy(client)
      throw isConnectionLoss(error) ? error : explainRefusal(error, this.#target)
    }
  }

  /** A SuperLink that was killed leaves its lock to the server, which gives it back a little later. */
  async #takeLock(client: pg.Client): Promise<void> {
    const endsAt = performance.now() + serverLimits.lockMs
    while (!(await tryLock(client))) {
      if (performance.now() >= endsAt)
        throw new DatabaseInUse(
          `The database ${this.#target.label} is in use by another SuperLink: stop that one or name another database. Two SuperLinks cannot share a database.`,
        )
      if (this.#formerPid !== undefined) await endFormer(client, this.#formerPid)
      await sleep(serverLimits.retryMs)
    }
  }

  /** What this SuperLink keeps in memory is outdated if another one has written meanwhile, even if that one has ended. */
  async #leaveMark(client: pg.Client): Promise<void> {
    if (this.#formerPid === undefined) {
      await client.query('UPDATE trellis_version SET writer = $1', [this.#mark])
      return
    }
    const { rows } = await client.query('SELECT writer FROM trellis_version')
    if ((rows[0] as { writer: string } | undefined)?.writer !== this.#mark)
      throw new DatabaseInUse(
        `The database ${this.#target.label} was taken over by another SuperLink while this one could not reach it.`,
      )
  }

  async end(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => {})
  }

  #lost(client: pg.Client): void {
    if (this.#client === client) this.#client = undefined
  }

  /** A lost connection is not used again: what the server has done of it is not known. */
  async #use<T>(action: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = this.#client
    if (!client) throw new Error('Connection terminated')
    try {
      return await action(client)
    } catch (error) {
      if (isConnectionLoss(error)) {
        this.#lost(client)
        destroy(client)
      }
      throw error
    }
  }
}

/** Without a goodbye, for which a server that is not there would be waited for. */
function destroy(client: pg.Client): void {
  ;(client as unknown as { connection: { stream: Duplex } }).connection.stream.destroy()
}
