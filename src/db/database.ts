import type { DatabaseSync } from 'node:sqlite'
import type { Kysely } from 'kysely'
import { DomainError, errorText, UsageError } from '../base/errors.ts'
import { isDiskFull } from '../base/full-disk.ts'
import { Checkpoints } from './checkpoint.ts'
import { asTransaction, ensureOutsideTransaction } from './committed-reads.ts'
import { explain, makePrivate, openFile, takeLock } from './database-file.ts'
import { migrations } from './migrations.ts'
import type { Tables } from './schema.ts'
import { createReader, createWriter } from './sqlite.ts'

/** What stores query: the reading connection, or the writing one inside a transaction. */
export type Db = Kysely<Tables>

/** Effects that others see (wake-ups, deleted files) are handed over here and happen after commit. */
export type AfterCommit = (effect: () => void) => void

/**
 * SQLite with one writer. Transactions queue up and share commits: each is a savepoint of a common transaction, and its
 * promise resolves when the commit is on disk. Reads of a file use a connection of their own and never wait for writers;
 * in memory, where there is one connection, they wait for the end of the running transaction.
 */
export interface Database {
  /** Sees committed rows only. The body of a transaction reads through its own handle, which sees what it has written. */
  readonly read: Db
  transaction<T>(body: (tx: Db, afterCommit: AfterCommit) => Promise<T>): Promise<T>
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

interface Job {
  readonly body: (tx: Db, afterCommit: AfterCommit) => Promise<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

export const inMemory = ':memory:'
const jobsPerCommitMax = 128
/** SQLite's default: a commit copies its log into the file once it has so many pages. */
const pagesPerCheckpoint = 1000
/** A transaction that took longer may have written so much that another thread shall copy it. */
const longTransactionMs = 50
/** How long a transaction waits for others to share a commit with. */
const companyMs = 2

/** What a committed transaction outlives: the end of this process, or also of the power. The latter costs a write to disk. */
export type Survives = 'crash' | 'power-cut'

/**
 * Opens or creates the database. Throws a UsageError with a remedy when the file is of a newer version, of another
 * program, in use, read-only or damaged.
 */
export function openDatabase(options: { path: string; survives?: Survives } & Partial<Notices>): Database {
  const { path, survives = 'power-cut', onFull = () => {}, onCommit = () => {} } = options
  const memory = path === inMemory
  if (!memory) makePrivate(path)
  const lock = memory ? undefined : takeLock(path)
  const writer = openFile(path)
  try {
    prepare(writer, path, memory ? 'nothing' : survives)
  } catch (error) {
    writer.close()
    lock?.close()
    throw explain(error, path)
  }
  const reader = memory ? writer : openFile(path)
  if (!memory) reader.exec('PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA mmap_size = 268435456')
  return new SqliteDatabase({ path, writer, reader, lock, onFull, onCommit })
}

interface Notices {
  /** Called after a write failed because the disk is full. */
  readonly onFull: () => void
  /** Called after each commit with the seconds that it took, and the number of transactions that wait for the next one. */
  readonly onCommit: (seconds: number, waiting: number) => void
}

interface Connections extends Notices {
  readonly path: string
  readonly writer: DatabaseSync
  /** The writer itself if the database is in memory. */
  readonly reader: DatabaseSync
  readonly lock: DatabaseSync | undefined
}

class SqliteDatabase implements Database {
  readonly read: Db
  readonly #write: Db
  readonly #writer: DatabaseSync
  readonly #lock: DatabaseSync | undefined
  readonly #isShared: boolean
  readonly #notices: Notices
  readonly #checkpoints: Checkpoints
  readonly #jobs: Job[] = []
  #draining: Promise<void> | undefined
  /** The common transaction that runs now, if readers use its connection. */
  #running: PromiseWithResolvers<void> | undefined
  #lastCompany = 1
  #isClosed = false

  constructor({ path, writer, reader, lock, ...notices }: Connections) {
    this.#writer = writer
    this.#notices = notices
    this.#lock = lock
    this.#checkpoints = new Checkpoints(path, () => this.#checkpointInCommits(true))
    this.#isShared = reader === writer
    this.#write = createWriter(writer)
    this.read = createReader(reader, () => this.#running?.promise)
  }

  transaction<T>(body: (tx: Db, afterCommit: AfterCommit) => Promise<T>): Promise<T> {
    ensureOutsideTransaction('another one')
    return new Promise<T>((resolve, reject) => {
      if (this.#isClosed) return reject(new DomainError('unavailable', 'The database is closed.'))
      this.#jobs.push({ body, resolve: resolve as (value: unknown) => void, reject })
      this.#draining ??= this.#drain()
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#draining
    await this.#checkpoints.close()
    if (!this.#isShared) await this.read.destroy()
    await this.#write.destroy()
    this.#lock?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #drain(): Promise<void> {
    // Callers that arrive in the same turn of the event loop share the first commit.
    await Promise.resolve()
    while (this.#jobs.length > 0) {
      if (!this.#isShared) await this.#gatherCompany()
      await this.#commitTogether()
    }
    // In the same turn as the last look at the queue: a transaction that comes now must start the next drain.
    this.#draining = undefined
  }

  /**
   * A commit blocks this thread while the disk works, and requests that came in the meantime wait in their sockets. They are
   * read first. If several transactions shared the last commit, this one waits a moment for as many.
   */
  async #gatherCompany(): Promise<void> {
    const endsAt = performance.now() + companyMs
    do await new Promise((resolve) => setImmediate(resolve))
    while (this.#jobs.length < this.#lastCompany && performance.now() < endsAt)
  }

  async #commitTogether(): Promise<void> {
    const effects: (() => void)[] = []
    const settled: (() => void)[] = []
    const rejected: ((error: unknown) => void)[] = []
    if (this.#isShared) this.#running = Promise.withResolvers()
    try {
      this.#writer.exec('BEGIN IMMEDIATE')
      const begunAt = performance.now()
      for (let count = 0; count < jobsPerCommitMax; count++) {
        const job = this.#jobs.shift()
        if (!job) break
        rejected.push(job.reject)
        settled.push(await (count === 0 ? this.#runFirst(job, effects) : this.#runInSavepoint(job, effects)))
      }
      const isLong = !this.#isShared && performance.now() - begunAt > longTransactionMs
      if (isLong) this.#checkpointInCommits(false)
      try {
        this.#writer.exec('COMMIT')
      } finally {
        // Also after a failure: otherwise no later commit would copy the log.
        if (isLong) this.#checkpoints.start()
      }
      this.#lastCompany = settled.length
      this.#notices.onCommit((performance.now() - begunAt) / 1000, this.#jobs.length)
    } catch (error) {
      if (this.#writer.isTransaction) this.#writer.exec('ROLLBACK')
      const failure = this.#explainFailure(error)
      // If BEGIN itself failed no job was taken yet: then the next one is rejected.
      if (rejected.length === 0) this.#jobs.shift()?.reject(failure)
      for (const reject of rejected) reject(failure)
      return
    } finally {
      this.#running?.resolve()
      this.#running = undefined
    }
    for (const effect of effects) effect()
    for (const settle of settled) settle()
  }

  /**
   * The first job of a common transaction needs no savepoint: if it fails, the transaction begins anew. For a savepoint SQLite
   * keeps a copy of each page that is changed, in memory.
   */
  async #runFirst(job: Job, effects: (() => void)[]): Promise<() => void> {
    const own: (() => void)[] = []
    try {
      const value = await asTransaction(() => job.body(this.#write, (effect) => own.push(effect)))
      effects.push(...own)
      return () => job.resolve(value)
    } catch (error) {
      if (!this.#writer.isTransaction) throw error
      this.#writer.exec('ROLLBACK; BEGIN IMMEDIATE')
      return this.#rejecting(job, error)
    }
  }

  /** Returns a function that settles the job once the commit has succeeded. */
  async #runInSavepoint(job: Job, effects: (() => void)[]): Promise<() => void> {
    const own: (() => void)[] = []
    this.#writer.exec('SAVEPOINT job')
    try {
      const value = await asTransaction(() => job.body(this.#write, (effect) => own.push(effect)))
      this.#writer.exec('RELEASE job')
      effects.push(...own)
      return () => job.resolve(value)
    } catch (error) {
      // A full disk ends the whole transaction by itself.
      if (!this.#writer.isTransaction) throw error
      this.#writer.exec('ROLLBACK TO job; RELEASE job')
      return this.#rejecting(job, error)
    }
  }

  #rejecting(job: Job, error: unknown): () => void {
    const failure = isDiskFull(error) ? this.#explainFailure(error) : error
    return () => job.reject(failure)
  }

  #checkpointInCommits(value: boolean): void {
    if (this.#writer.isOpen) this.#writer.exec(`PRAGMA wal_autocheckpoint = ${value ? pagesPerCheckpoint : 0}`)
  }

  #explainFailure(cause: unknown): DomainError {
    if (!isDiskFull(cause))
      return new DomainError('unavailable', `The database cannot be written: ${errorText(cause)}.`, { cause })
    this.#notices.onFull()
    return new DomainError('storage-full', undefined, { cause })
  }
}

function prepare(writer: DatabaseSync, path: string, survives: Survives | 'nothing'): void {
  writer.exec('PRAGMA busy_timeout = 5000')
  const flower = writer.prepare("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").get()
  if (flower) {
    throw new UsageError(`The database ${path} belongs to Flower's own SuperLink: give another file with --database.`, {
      flowerCode: 105,
    })
  }
  if (survives !== 'nothing') {
    const synchronous = survives === 'power-cut' ? 'FULL' : 'NORMAL'
    writer.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; PRAGMA mmap_size = 268435456`)
  }
  writer.exec('PRAGMA foreign_keys = ON; PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY')
  const { user_version: version } = writer.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > migrations.length) {
    throw new UsageError(
      `The database ${path} was written by a newer release (version ${version}, this one knows ${migrations.length}): upgrade this program or give another file with --database.`,
      { flowerCode: 105 },
    )
  }
  migrations.slice(version).forEach((sql, index) => {
    writer.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${version + index + 1}; COMMIT`)
  })
}
