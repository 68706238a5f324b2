import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { UsageError } from '../../base/errors.ts'
import type { Writer } from '../commit-group.ts'
import { explainRefusal, isConnectionLoss } from './connect-errors.ts'
import { endSession, findHolder, findOwnSession, tryLock, waitForLock } from './lock.ts'
import { findVersion, prepareTables } from './prepare-tables.ts'
import { serverLimits } from './server-limits.ts'
import { clientConfig, destroy, prepareSession, promptly, query } from './session.ts'
import type { PostgresTarget } from './target.ts'

/** Another SuperLink has taken the database over since this one had its lock. */
export class TakenOver extends UsageError {}

/** The connection was lost before the response to COMMIT. After the next `connect`, `lastCommit` tells whether it was done. */
export class UncertainCommit extends Error {
  readonly commit: number

  constructor(commit: number, cause: unknown) {
    super('The response to a commit was lost.', { cause })
    this.commit = commit
  }
}

export interface WriterNotices {
  /** Called when another SuperLink has the lock, with a sentence. */
  readonly onWaiting: (reason: string) => void
  /** Called with a sentence before the tables of an older release are converted. */
  readonly onConverting: (what: string) => void
  /** Called when the connection is lost. */
  readonly onLost: () => void
}

/** The connection that writes. It holds the lock of the database, and is replaced when it is lost. */
export class WriterConnection implements Writer {
  readonly savesFirst = true
  readonly #target: PostgresTarget
  readonly #notices: WriterNotices
  #client: pg.Client | undefined
  /** Whether this SuperLink has written: what it keeps in memory agrees with the database only if no other one has. */
  #hasWritten = false
  /** Connections that have the lock, or may have it because the server has not noticed yet that they are lost. */
  readonly #sessions = new Set<string>()
  /** Stored in the database by the SuperLink that writes it, with the number of its last commit. */
  readonly #mark = randomUUID()
  #commits = 0
  #lastCommit = 0

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

  /** The last commit that the database had when it was connected to again. */
  get lastCommit(): number {
    return this.#lastCommit
  }

  /** Begins a transaction. A server that does not respond to this within seconds counts as lost. */
  async begin(): Promise<void> {
    await this.#use((client) => promptly(client, () => client.query('BEGIN')))
  }

  /**
   * Throws if the transaction was rolled back instead, which PostgreSQL does after a failed statement, and an UncertainCommit
   * if the response is lost. A transaction that has written something stores its number: an id of PostgreSQL's own could be
   * given to another transaction after a crash.
   */
  async commit(): Promise<void> {
    const commit = ++this.#commits
    const store = `UPDATE trellis_version SET writer = '${this.#mark} ${commit}' WHERE pg_current_xact_id_if_assigned() IS NOT NULL`
    let results: pg.QueryResult[]
    try {
      results = (await this.#use((client) => client.query(`${store}; COMMIT`))) as unknown as pg.QueryResult[]
    } catch (error) {
      throw isConnectionLoss(error) ? new UncertainCommit(commit, error) : error
    }
    if (results.at(-1)?.command !== 'COMMIT') throw new Error('The transaction was rolled back.')
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
      await promptly(client, () => prepareSession(client, this.#target))
      await this.#takeLock(client)
      // Otherwise the tables are those that this SuperLink has left, or belong to the one that has taken over.
      if (!this.#hasWritten) await prepareTables(client, this.#target, this.#notices.onConverting)
      await this.#leaveMark(client)
      this.#client = client
      this.#hasWritten = true
    } catch (error) {
      destroy(client)
      throw isConnectionLoss(error) ? error : explainRefusal(error, this.#target)
    } finally {
      signal?.removeEventListener('abort', giveUp)
    }
  }

  async #takeLock(client: pg.Client): Promise<void> {
    // Before the try: if its response is lost, this connection has the lock all the same.
    const session = await promptly(client, () => findOwnSession(client))
    this.#sessions.add(session)
    const [oldest] = this.#sessions
    if (oldest !== undefined && this.#sessions.size > serverLimits.formerSessionsMax) this.#sessions.delete(oldest)
    await this.#waitForLock(client)
  }

  async #waitForLock(client: pg.Client): Promise<void> {
    const endsAt = performance.now() + serverLimits.formerMs
    let told: string | undefined
    while (!(await promptly(client, () => tryLock(client)))) {
      if (!this.#hasWritten) await promptly(client, () => findVersion(client, this.#target))
      const holder = await promptly(client, () => findHolder(client))
      if (!holder) continue
      const { session, text } = holder
      const isLate = performance.now() >= endsAt
      const isOurs = session !== undefined && this.#sessions.has(session)
      if (isOurs || (this.#hasWritten && session === undefined && !isLate)) {
        if (isLate) throw new Error('timeout expired: the server has not ended the former connection yet')
        if (isOurs) await promptly(client, () => endSession(client, session))
        await sleep(serverLimits.retryMs)
        continue
      }
      if (this.#hasWritten) throw this.#takenOver()
      if (text !== told)
        this.#notices.onWaiting(
          `The database ${this.#target.label} is in use by the SuperLink at ${text}: this one is a standby and takes over when that one ends.`,
        )
      told = text
      if (await waitForLock(client)) return
    }
  }

  #takenOver(): TakenOver {
    return new TakenOver(
      `The database ${this.#target.label} was taken over by another SuperLink while this one could not reach it.`,
    )
  }

  /** What this SuperLink keeps in memory is outdated if another one has written meanwhile, even if that one has ended. */
  async #leaveMark(client: pg.Client): Promise<void> {
    if (!this.#hasWritten) {
      await client.query('UPDATE trellis_version SET writer = $1', [`${this.#mark} 0`])
      return
    }
    const { rows } = await client.query('SELECT writer FROM trellis_version')
    const [mark, commit] = (rows[0] as { writer: string | null } | undefined)?.writer?.split(' ') ?? []
    if (mark !== this.#mark) throw this.#takenOver()
    this.#lastCommit = Number(commit)
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
