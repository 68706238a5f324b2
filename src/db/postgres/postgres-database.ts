import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { DomainError, errorText, UsageError } from '../../base/errors.ts'
import { isDiskFull } from '../../base/full-disk.ts'
import { CommitGroup, type Job } from '../commit-group.ts'
import { ensureOutsideTransaction } from '../committed-reads.ts'
import { type AfterCommit, type Database, type Db, jobsPerCommitMax, type Notices, throwLater } from '../database.ts'
import { isConnectionLoss, lossText } from './connect-errors.ts'
import { createQueries } from './dialect.ts'
import { Readers } from './readers.ts'
import { serverLimits } from './server-limits.ts'
import type { PostgresTarget } from './target.ts'
import { TakenOver, UncertainCommit, WriterConnection } from './writer.ts'

export interface PostgresNotices extends Notices {
  /** Called with a sentence when the database cannot be reached, and at each further try at the start. */
  readonly onLost: (reason: string) => void
  /** Called when the database can be reached again. */
  readonly onBack: () => void
  /** Called with a sentence when another SuperLink uses the database, and this one waits for its end. */
  readonly onWaiting: (reason: string) => void
  /** Called with a sentence before the tables of an older release are converted, which may take long. */
  readonly onConverting: (what: string) => void
  /** Called once with a sentence when another SuperLink has taken over: this one must stop serving. */
  readonly onTakenOver: (reason: string) => void
}

/**
 * Opens a PostgreSQL database. If its server cannot be reached yet, or another SuperLink uses it, waits until the signal.
 * Throws a UsageError with a remedy if the server refuses.
 */
export async function openPostgres(
  target: PostgresTarget,
  notices: Partial<PostgresNotices> = {},
  signal?: AbortSignal,
): Promise<Database> {
  let database: PostgresDatabase | undefined
  const { onLost = () => {}, onBack = () => {}, onWaiting = () => {}, onConverting = () => {} } = notices
  let wasLost = false
  const noteReached = (): void => {
    if (wasLost) onBack()
    wasLost = false
  }
  const writer = new WriterConnection(target, {
    onWaiting(reason) {
      noteReached()
      onWaiting(reason)
    },
    onConverting,
    onLost: () => database?.reconnect(),
  })
  for (;;) {
    try {
      await writer.connect(signal)
      database = new PostgresDatabase(target, writer, notices)
      noteReached()
      return database
    } catch (error) {
      await writer.end()
      if (!isConnectionLoss(error) || signal?.aborted) throw error
      wasLost = true
      onLost(absence(target, error))
      await sleep(serverLimits.retryMs, undefined, signal ? { signal } : {})
    }
  }
}

function absence({ label }: PostgresTarget, error: unknown): string {
  if (error instanceof UsageError) return error.message
  return `The database ${label} cannot be reached (${lossText(error)}): start its server, or correct --database.`
}

/**
 * PostgreSQL with one writer, like SQLite: transactions queue up, run one after the other on the connection that writes, and
 * share commits, each as a savepoint of a common transaction. So they see each other in the order in which they were begun,
 * next to the state in memory that they must agree with. Reads use connections of their own and see what is committed, which
 * PostgreSQL shows when it is on disk.
 *
 * If the connection that writes is lost, another SuperLink may take over. The transactions under way are refused and none of
 * their effects happens; transactions and reads that wait go on when there is a new connection, unless another SuperLink has
 * taken over: then all are refused. If the response to a commit is lost, the next connection shows whether it was done, and its
 * transactions succeed or are refused then. Callers wait for that up to a limit; the effects happen also after it.
 */
class PostgresDatabase implements Database {
  readonly read: Db
  readonly #write: Db
  readonly #target: PostgresTarget
  readonly #writer: WriterConnection
  readonly #readers: Readers
  readonly #notices: PostgresNotices
  readonly #jobs: (Job & { readonly since: number })[] = []
  #draining: Promise<void> | undefined
  #lostAt: number | undefined
  /** The transactions of a commit whose response was lost. */
  #uncertain: { readonly group: CommitGroup; readonly commit: number; readonly since: number } | undefined
  #failure: DomainError | undefined
  readonly #closing = new AbortController()
  readonly #tries: NodeJS.Timeout

  constructor(target: PostgresTarget, writer: WriterConnection, notices: Partial<PostgresNotices>) {
    this.#target = target
    this.#writer = writer
    const nothing = (): void => {}
    this.#notices = {
      ...{ onFull: nothing, onUnwritable: nothing, onCommit: nothing, onFailed: nothing, onEffectFailed: throwLater },
      ...{ onLost: nothing, onBack: nothing, onWaiting: nothing, onConverting: nothing, onTakenOver: nothing },
      ...notices,
    }
    this.#readers = new Readers(target)
    this.#write = createQueries((text, values) => writer.query(text, values))
    this.read = createQueries((text, values) => this.#read(text, values))
    this.#tries = setInterval(() => this.#try(), serverLimits.tryEveryMs)
    this.#tries.unref()
  }

  transaction<T>(body: (tx: Db, afterCommit: AfterCommit) => Promise<T>): Promise<T> {
    ensureOutsideTransaction('another one')
    return new Promise<T>((resolve, reject) => {
      if (this.#closing.signal.aborted) return reject(new DomainError('unavailable', 'The database is closed.'))
      if (this.#failure) return reject(this.#failure)
      this.#jobs.push({ body, resolve: resolve as (value: unknown) => void, reject, since: performance.now() })
      this.#draining ??= this.#drain()
    })
  }

  /** Connects again at once, also if no transaction waits: another SuperLink may have taken over. */
  reconnect(): void {
    this.#draining ??= this.#drain()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    clearInterval(this.#tries)
    await this.#draining
    await this.#readers.end()
    await this.#writer.end()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Nothing is as quiet as a connection that is lost. */
  #try(): void {
    if (!this.#draining && !this.#failure) this.transaction(async () => {}).catch(() => {})
  }

  /**
   * A read changes nothing, so it is done again after a lost connection. Without the lock it waits: callers must not be told
   * what another SuperLink may be changing.
   */
  async #read(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    ensureOutsideTransaction('a read of what is committed')
    const endsAt = performance.now() + serverLimits.absentMs
    for (;;) {
      if (this.#failure) throw this.#failure
      try {
        if (!this.#writer.isConnected) throw new Error('Connection terminated')
        return await this.#readers.query(text, values)
      } catch (error) {
        if (!isConnectionLoss(error)) throw error
        if (performance.now() >= endsAt || this.#closing.signal.aborted) throw this.#unreachable(error)
        await this.#pause()
      }
    }
  }

  async #drain(): Promise<void> {
    // Callers that arrive in the same turn of the event loop share the first commit.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#jobs.length > 0 || this.#mustReconnect()) {
      if (!this.#writer.isConnected) await this.#connect()
      else if (this.#jobs.length > 0) await this.#commitTogether()
    }
    // The database was closed or taken over before the next connection.
    this.#uncertain?.group.reject(this.#unreachable(undefined))
    this.#uncertain = undefined
    this.#draining = undefined
  }

  async #commitTogether(): Promise<void> {
    const group = new CommitGroup(this.#writer, this.#write, (error) => this.#explain(error), 'BEGIN')
    try {
      await this.#writer.begin()
    } catch (error) {
      // No transaction was begun: all go on when there is a new connection.
      if (!this.#writer.isConnected) this.#noteLost(error)
      else this.#jobs.shift()?.reject(this.#explain(error))
      return
    }
    try {
      for (let job = this.#jobs.shift(); job; job = group.size < jobsPerCommitMax ? this.#jobs.shift() : undefined)
        await group.run(job)
      const begunAt = performance.now()
      await this.#writer.commit()
      this.#notices.onCommit((performance.now() - begunAt) / 1000, this.#jobs.length)
    } catch (error) {
      if (error instanceof UncertainCommit) {
        this.#uncertain = { group, commit: error.commit, since: performance.now() }
        this.#noteLost(error.cause)
        return
      }
      if (this.#writer.isTransaction) await this.#writer.exec('ROLLBACK').catch(() => {})
      group.reject(this.#explain(error))
      return
    }
    group.settle(this.#notices.onEffectFailed)
  }

  /** A lost connection is restored without a transaction that waits for it: until then the SuperLink is not ready. */
  #mustReconnect(): boolean {
    return !this.#writer.isConnected && !this.#failure && !this.#closing.signal.aborted
  }

  /** Tries once to connect again, and refuses transactions and reads that have waited too long. */
  async #connect(): Promise<void> {
    try {
      await this.#writer.connect(this.#closing.signal)
      // What has cut off the connection that writes may have cut off these too, without a word. Reads are done again.
      this.#readers.cut()
      this.#settleUncertain()
      if (this.#lostAt !== undefined) this.#notices.onBack()
      this.#lostAt = undefined
    } catch (error) {
      // A password, for instance, may be corrected meanwhile.
      if (error instanceof TakenOver) this.#stop(error)
      else this.#noteLost(error)
      const isOver = this.#failure !== undefined || this.#closing.signal.aborted
      const before = isOver ? Number.POSITIVE_INFINITY : performance.now() - serverLimits.absentMs
      while (this.#jobs[0] && this.#jobs[0].since < before) this.#jobs.shift()?.reject(this.#unreachable(error))
      if (this.#uncertain && this.#uncertain.since < before) this.#uncertain.group.reject(this.#unreachable(error))
      if (this.#lostAt !== undefined && this.#lostAt < before) this.#readers.cut()
      await this.#pause()
    }
  }

  #settleUncertain(): void {
    const uncertain = this.#uncertain
    this.#uncertain = undefined
    if (!uncertain) return
    if (this.#writer.lastCommit === uncertain.commit) uncertain.group.settle(this.#notices.onEffectFailed)
    else uncertain.group.reject(this.#unreachable(undefined))
  }

  #pause(): Promise<void> {
    return sleep(serverLimits.retryMs, undefined, { signal: this.#closing.signal }).catch(() => {})
  }

  #noteLost(cause: unknown): void {
    if (this.#lostAt !== undefined) return
    this.#lostAt = performance.now()
    this.#notices.onLost(absence(this.#target, cause))
  }

  /** Another SuperLink has taken the database over: this one must not go on. */
  #stop(cause: unknown): void {
    this.#failure = new DomainError('unavailable', errorText(cause), { cause })
    this.#notices.onTakenOver(errorText(cause))
  }

  #unreachable(cause: unknown): DomainError {
    return (
      this.#failure ??
      new DomainError('unavailable', 'The database of the server cannot be reached. Try again.', { cause })
    )
  }

  #explain(cause: unknown): DomainError {
    if (isConnectionLoss(cause)) {
      this.#noteLost(cause)
      return this.#unreachable(cause)
    }
    if (!isDiskFull(cause))
      return new DomainError('unavailable', `The database cannot be written: ${errorText(cause)}.`, { cause })
    this.#notices.onFull()
    return new DomainError('storage-full', undefined, { cause })
  }
}
