import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { UsageError } from '../../base/errors.ts'
import type { Writer } from '../commit-group.ts'
import { explainRefusal, isConnectionLoss } from './connect-errors.ts'
import { endSession, findHolder, tryLock, waitForLock } from './lock.ts'
import { prepareTables } from './prepare-tables.ts'
import { serverLimits } from './server-limits.ts'
import { clientConfig, prepareSession, query, streamOf } from './session.ts'
import type { PostgresTarget } from './target.ts'

/** Another SuperLink has taken the database over since this one had its lock. */
export class TakenOver extends UsageError {}

export interface WriterNotices {
  /** Called when another SuperLink has the lock, with a sentence. */
  readonly onWaiting: (reason: string) => void
  /** Called when the connection is lost. */
  readonly onLost: () => void
}

/** The connection that writes. It holds the lock of the database, and is replaced when it is lost. */
export class WriterConnection implements Writer {
  readonly savesFirst = true
  readonly #target: PostgresTarget
  readonly #notices: WriterNotices
  #client: pg.Client | undefined
  /** The last connection, whose lock the server may not have given back yet. */
  #formerPid: number | undefined
  /** Stored in the database by the SuperLink that writes it. */
  readonly #mark = randomUUID()

  constructor(target: PostgresTarget, notices: WriterNotices) {
    this.#target = target
    this.#notices = notices
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
   * Connects once, waits for the lock if another SuperLink has it, and brings the tables to this release. If this SuperLink
   * had the lock before, throws a TakenOver instead of waiting. Throws another UsageError if the server refuses, and another
   * error if it cannot be reached, or after the signal.
   */
  async connect(signal?: AbortSignal): Promise<void> {
    const client = new pg.Client(clientConfig(this.#target))
    client.on('error', () => this.#lost(client))
    client.on('end', () => this.#lost(client))
    const giveUp = (): void => destroy(client)
    signal?.addEventListener('abort', giveUp, { once: true })
    try {
      signal?.throwIfAborted()
      await client.connect()
      await prepareSession(client, this.#target)
      if (this.#formerPid === undefined) await this.#waitForLock(client)
      else await this.#retakeLock(client, this.#formerPid)
      await prepareTables(client, this.#target)
      await this.#leaveMark(client)
      this.#client = client
      this.#formerPid = (client as unknown as { processID: number }).processID
    } catch (error) {
      destroy(client)
      throw isConnectionLoss(error) ? error : explainRefusal(error, this.#target)
    } finally {
      signal?.removeEventListener('abort', giveUp)
    }
  }

  async #waitForLock(client: pg.Client): Promise<void> {
    let told: number | undefined
    while (!(await tryLock(client))) {
      const holder = await findHolder(client)
      if (!holder) continue
      if (holder.pid !== told)
        this.#notices.onWaiting(
          `The database ${this.#target.label} is in use by the SuperLink at ${holder.text}: this one is a standby and takes over when that one ends.`,
        )
      told = holder.pid
      if (await waitForLock(client)) return
    }
  }

  /** The server may not have noticed that the former connection is lost. */
  async #retakeLock(client: pg.Client, formerPid: number): Promise<void> {
    const endsAt = performance.now() + serverLimits.formerMs
    while (!(await tryLock(client))) {
      const holder = await findHolder(client)
      if (holder?.pid === formerPid && performance.now() < endsAt) await endSession(client, formerPid)
      else if (holder) throw this.#takenOver()
      await sleep(serverLimits.retryMs)
    }
  }

  #takenOver(): TakenOver {
    return new TakenOver(
      `The database ${this.#target.label} was taken over by another SuperLink while this one could not reach it.`,
    )
  }

  /** What this SuperLink keeps in memory is outdated if another one has written meanwhile, even if that one has ended. */
  async #leaveMark(client: pg.Client): Promise<void> {
    if (this.#formerPid === undefined) {
      await client.query('UPDATE trellis_version SET writer = $1', [this.#mark])
      return
    }
    const { rows } = await client.query('SELECT writer FROM trellis_version')
    if ((rows[0] as { writer: string } | undefined)?.writer !== this.#mark) throw this.#takenOver()
  }

  async end(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => {})
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client) return
    this.#client = undefined
    this.#notices.onLost()
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
  streamOf(client).destroy()
}
