import type { DatabaseSync } from 'node:sqlite'
import type { Kysely } from 'kysely'
import { DomainError, errorText } from '../base/errors.ts'
import { isDiskFull, unwritableReason } from '../base/full-disk.ts'
import { CommitGroup, type Job } from './commit-group.ts'
import { ensureOutsideTransaction } from './committed-reads.ts'
import { explain, makePrivate, mappedBytesMax, openFile, takeLock } from './database-file.ts'
import { prepare } from './prepare.ts'
import type { Tables } from './schema.ts'
import { createReader, createWriter } from './sqlite.ts'
import { type LogSettings, openLog, type WriteAheadLog } from './write-ahead-log.ts'

/** What stores query: the reading connection, or the writing one inside a transaction. */
export type Db = Kysely<Tables>

/** Effects that others see (wake-ups, deleted files) are handed over here and happen after commit. */
export type AfterCommit = (effect: () => void) => void

/**
 * SQLite with one writer. Transactions queue up and share commits: each is a savepoint of a common transaction, and its
 * promise resolves when the commit is on disk. The thread pool waits for the disk; meanwhile the next transactions run, and
 * are committed together when the disk is ready. Reads of a file use a connection of their own and never wait for writers;
 * in memory, where there is one connection, they wait for the end of the running transaction.
 */
export interface Database {
  /**
   * Sees only rows that are committed and on disk: what a program responds with must outlive a power cut. The body of a
   * transaction reads through its own handle, which sees what it has written.
   */
  readonly read: Db
  transaction<T>(body: (tx: Db, afterCommit: AfterCommit) => Promise<T>): Promise<T>
  /** Frees what is kept in memory of a file only to read it faster. */
  shrink?(): void
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export const inMemory = ':memory:'
export const jobsPerCommitMax = 128

/** What a committed transaction outlives: the end of this process, or also of the power. The latter costs a write to disk. */
export type Survives = 'crash' | 'power-cut'

/**
 * Opens or creates the database. Throws a UsageError with a remedy when the file is of a newer version, of another
 * program, in use, read-only or damaged. `overrides` are for tests.
 */
export function openDatabase(
  options: {
    path: string
    survives?: Survives
    overrides?: Partial<LogSettings>
    /** Called with a sentence before the tables of an older release are converted. */
    onConverting?: (what: string) => void
  } & Partial<Notices>,
): Database {
  const {
    path,
    survives = 'power-cut',
    overrides = {},
    onFull = () => {},
    onUnwritable = () => {},
    onCommit = () => {},
    onFailed = () => {},
    onEffectFailed = throwLater,
  } = options
  const notices = { onFull, onUnwritable, onCommit, onFailed, onEffectFailed }
  if (path === inMemory) {
    const connection = openFile(path)
    prepare(connection, path, { isFile: false })
    return new SqliteDatabase(connection, undefined, notices)
  }
  makePrivate(path)
  const lock = takeLock(path)
  const writer = openFile(path)
  try {
    writer.exec(`PRAGMA busy_timeout = 5000; PRAGMA mmap_size = ${mappedBytesMax}`)
    prepare(writer, path, { isFile: true, onConverting: options.onConverting })
    return new SqliteDatabase(
      writer,
      { lock, log: openLog(writer, path, survives === 'power-cut', overrides) },
      notices,
    )
  } catch (error) {
    writer.close()
    lock.close()
    throw explain(error, path)
  }
}

export interface Notices {
  /** Called after a write failed because the disk is full. */
  readonly onFull: () => void
  /** Called after a write failed for a reason that may go away: the rest of a sentence with the remedy. */
  readonly onUnwritable: (reason: string) => void
  /** Called after each commit with the seconds until it was on disk, and the number of transactions that wait for the next one. */
  readonly onCommit: (seconds: number, waiting: number) => void
  /** Called once with a sentence for the operator when no transaction is taken any more, until a restart. */
  readonly onFailed: (reason: string) => void
  /** Called with what an effect threw. Its transaction is committed all the same, and the other effects happen. */
  readonly onEffectFailed: (error: unknown) => void
}

/** A failed effect is a fault of the program. */
export function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

/** What a database on disk has, and one in memory has not. */
interface Files {
  readonly lock: DatabaseSync
  readonly log: WriteAheadLog
}

class SqliteDatabase implements Database {
  readonly read: Db
  readonly #write: Db
  readonly #writer: DatabaseSync
  readonly #files: Files | undefined
  readonly #notices: Notices
  readonly #jobs: Job[] = []
  #jobArrived = Promise.withResolvers<void>()
  #draining: Promise<void> | undefined
  /** The common transaction that runs now, if readers use its connection. */
  #running: PromiseWithResolvers<void> | undefined
  /** Resolves when the last commit is on disk, and its callers are settled. */
  #syncing: Promise<void> | undefined
  /** After the disk has failed to store a commit, what the files hold is uncertain. */
  #failure: DomainError | undefined
  #isClosed = false

  constructor(writer: DatabaseSync, files: Files | undefined, notices: Notices) {
    this.#writer = writer
    this.#files = files
    this.#notices = notices
    this.#write = createWriter(writer)
    this.read = createReader(files?.log.reader ?? writer, () => this.#running?.promise)
    files?.log.onCopied(() => {
      if (!this.#isClosed) this.#draining ??= this.#drain()
    })
  }

  transaction<T>(body: (tx: Db, afterCommit: AfterCommit) => Promise<T>): Promise<T> {
    ensureOutsideTransaction('another one')
    return new Promise<T>((resolve, reject) => {
      if (this.#isClosed) return reject(new DomainError('unavailable', 'The database is closed.'))
      if (this.#failure) return reject(this.#failure)
      this.#jobs.push({ body, resolve: resolve as (value: unknown) => void, reject })
      this.#jobArrived.resolve()
      this.#draining ??= this.#drain()
    })
  }

  shrink(): void {
    const reader = this.#files?.log.reader
    // The pages of the file that were read stay resident while it is mapped.
    for (const connection of reader ? [this.#writer, reader] : [])
      if (!connection.isTransaction)
        connection.exec(`PRAGMA shrink_memory; PRAGMA mmap_size = 0; PRAGMA mmap_size = ${mappedBytesMax}`)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#draining
    await this.#syncing
    await this.#files?.log.settle()
    if (this.#files) await this.read.destroy()
    await this.#write.destroy()
    this.#files?.log.close()
    this.#files?.lock.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #drain(): Promise<void> {
    // Callers that arrive in the same turn of the event loop share the first commit.
    await Promise.resolve()
    do {
      // Requests that wait in their sockets are read first.
      if (this.#files) await new Promise((resolve) => setImmediate(resolve))
      if (this.#files?.log.isCopied) await this.#restartLog(this.#files.log)
      if (this.#jobs.length > 0) await this.#commitTogether()
    } while (this.#jobs.length > 0)
    // In the same turn as the last look at the queue: a transaction that comes now must start the next drain.
    this.#draining = undefined
  }

  /** Between two transactions, when all that was committed is on disk. */
  async #restartLog(log: WriteAheadLog): Promise<void> {
    await this.#syncing
    if (this.#failure) return
    try {
      await log.restart()
    } catch (error) {
      this.#stop(error)
    }
  }

  async #commitTogether(): Promise<void> {
    const group = new CommitGroup(this.#writer, this.#write, (error) => this.#explainFailure(error))
    if (!this.#files) this.#running = Promise.withResolvers()
    let committedAt = 0
    try {
      this.#writer.exec('BEGIN IMMEDIATE')
      await this.#runJobs(group)
      committedAt = performance.now()
      this.#files?.log.holdReaders()
      this.#writer.exec('COMMIT')
    } catch (error) {
      if (this.#writer.isTransaction) this.#writer.exec('ROLLBACK')
      // Otherwise the commit before is still on its way to the disk.
      if (!this.#syncing && !this.#failure) this.#files?.log.releaseReaders()
      const failure = this.#explainFailure(error)
      // If BEGIN itself failed no job was taken yet: then the next one is rejected.
      if (group.size === 0) this.#jobs.shift()?.reject(failure)
      return group.reject(failure)
    } finally {
      this.#running?.resolve()
      this.#running = undefined
    }
    let synced: Promise<void> | undefined
    try {
      synced = this.#files?.log.sync()
    } catch (error) {
      return this.#fail(group, error)
    }
    if (!synced) return this.#finish(group, committedAt)
    this.#syncing = synced.then(
      () => this.#finish(group, committedAt),
      (error) => this.#fail(group, error),
    )
  }

  /** Runs what is queued, and what arrives while the disk stores the commit before. */
  async #runJobs(group: CommitGroup): Promise<void> {
    for (;;) {
      const isFull = group.size >= jobsPerCommitMax
      const job = isFull ? undefined : this.#jobs.shift()
      if (job) await group.run(job)
      else if (this.#failure) throw this.#failure
      else if (this.#syncing) {
        this.#jobArrived = Promise.withResolvers()
        await Promise.race(isFull ? [this.#syncing] : [this.#syncing, this.#jobArrived.promise])
      } else return
    }
  }

  /** The last commit is on disk. */
  #finish(group: CommitGroup, committedAt: number): void {
    this.#syncing = undefined
    this.#files?.log.releaseReaders()
    this.#notices.onCommit((performance.now() - committedAt) / 1000, this.#jobs.length)
    group.settle(this.#notices.onEffectFailed)
  }

  #fail(group: CommitGroup, cause: unknown): void {
    this.#syncing = undefined
    group.reject(this.#stop(cause))
  }

  /**
   * The disk could not store a commit. The system may have dropped it, so a later success would prove nothing: no transaction
   * is taken any more, and readers stay at what is on disk.
   */
  #stop(cause: unknown): DomainError {
    const what = `The disk could not store the database (${errorText(cause)}): check the disk, then restart.`
    this.#failure = new DomainError('unavailable', what, { cause })
    this.#notices.onFailed(what)
    return this.#failure
  }

  #explainFailure(cause: unknown): DomainError {
    if (this.#failure) return this.#failure
    if (!isDiskFull(cause)) {
      const reason = unwritableReason(cause)
      if (reason !== undefined) this.#notices.onUnwritable(reason)
      return new DomainError('unavailable', `The database cannot be written: ${reason ?? errorText(cause)}.`, { cause })
    }
    this.#notices.onFull()
    return new DomainError('storage-full', undefined, { cause })
  }
}
