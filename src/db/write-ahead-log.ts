import { closeSync, fdatasync, fdatasyncSync, fsyncSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { Checkpoints } from './checkpoint.ts'
import { mappedBytesMax, openFile } from './database-file.ts'

/**
 * The write-ahead log of a database, to which SQLite appends each commit. SQLite's commits do not wait for the disk here: the
 * thread pool does, before anyone learns of them. Another thread copies the log into the database file.
 */
export interface WriteAheadLog {
  /** Sees what is committed, or, while readers are held, what was committed before. */
  readonly reader: DatabaseSync
  /** Readers stay at what is committed now. Called before a commit. */
  holdReaders(): void
  /** The last commit is on disk, or has failed. */
  releaseReaders(): void
  /** Called right after a commit. Resolves when it is on disk; `undefined` if commits need not outlive a power cut. */
  sync(): Promise<void> | undefined
  /** Whether most of a long log is copied into the database file, so that `restart` is soon done. */
  readonly isCopied: boolean
  /** Sets what is called once `isCopied` has become true. */
  onCopied(action: () => void): void
  /**
   * Copies the rest into the database file and starts the log anew. Until then the caller begins no transaction, and none
   * waits for the disk.
   */
  restart(): Promise<void>
  /** Resolves when no other thread uses the database. */
  settle(): Promise<void>
  close(): void
}

export interface LogSettings {
  /** The log is copied when it has grown by so many pages of 4 KiB. */
  readonly pagesPerCopy: number
  /** Resolves when all that was written to the file is on disk. */
  readonly syncFile: (file: number) => Promise<void>
}

const defaults: LogSettings = { pagesPerCopy: 4000, syncFile: promisify(fdatasync) }

/** Opens the log of a database that `writer` has opened. All that an earlier process committed is on disk afterwards. */
export function openLog(
  writer: DatabaseSync,
  path: string,
  isSynced: boolean,
  overrides: Partial<LogSettings>,
): WriteAheadLog {
  const reader = openFile(path)
  reader.exec(`PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA mmap_size = ${mappedBytesMax}`)
  // The first read creates the log, the checkpoint reports a disk that has dropped what a former process committed.
  writer.exec('PRAGMA wal_autocheckpoint = 0; PRAGMA wal_checkpoint(PASSIVE)')
  const file = openSync(`${path}-wal`, 'r+')
  if (isSynced) {
    fdatasyncSync(file)
    syncFolder(dirname(path))
  }
  return new SqliteLog({ ...{ writer, reader, path, file, isSynced }, settings: { ...defaults, ...overrides } })
}

/** So that the names of new files are on disk. */
function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

interface OpenLog {
  readonly writer: DatabaseSync
  readonly reader: DatabaseSync
  readonly path: string
  readonly file: number
  readonly isSynced: boolean
  readonly settings: LogSettings
}

class SqliteLog implements WriteAheadLog {
  readonly reader: DatabaseSync
  isCopied = false
  readonly #log: OpenLog
  readonly #checkpoints: Checkpoints
  readonly #look: StatementSync
  readonly #countPages: StatementSync
  #onCopied = (): void => {}
  #copying: Promise<void> | undefined
  #copyAt: number

  constructor(log: OpenLog) {
    this.reader = log.reader
    this.#log = log
    this.#checkpoints = new Checkpoints(log.path)
    this.#look = log.reader.prepare('SELECT 1 FROM sqlite_schema LIMIT 1')
    this.#countPages = log.writer.prepare('PRAGMA wal_checkpoint(NOOP)')
    this.#copyAt = log.settings.pagesPerCopy
  }

  holdReaders(): void {
    if (!this.#log.isSynced || this.reader.isTransaction) return
    // The transaction of a reader begins with its first look.
    this.reader.exec('BEGIN')
    this.#look.get()
  }

  releaseReaders(): void {
    if (this.reader.isTransaction) this.reader.exec('COMMIT')
  }

  sync(): Promise<void> | undefined {
    if (!this.#copying && this.#pages() >= this.#copyAt) this.#copying = this.#copy()
    return this.#log.isSynced ? this.#log.settings.syncFile(this.#log.file) : undefined
  }

  onCopied(action: () => void): void {
    this.#onCopied = action
  }

  /** While transactions go on. If the connection is broken, the next restart of the log reports it: no caller waits here. */
  async #copy(): Promise<void> {
    try {
      await this.#inOtherThread(() => this.#checkpoints.copy())
    } catch {
      // The log is to be copied once more, by the restart.
    }
    this.isCopied = true
    this.#onCopied()
  }

  async restart(): Promise<void> {
    await this.#inOtherThread(() => this.#checkpoints.copyAndRestart())
    this.isCopied = false
    this.#copying = undefined
    // Another program that reads for long keeps the log from being started anew.
    this.#copyAt = this.#pages() + this.#log.settings.pagesPerCopy
  }

  /** If the other thread fails, for instance because the disk is full, commits copy the log until it succeeds again. */
  async #inOtherThread(work: () => Promise<void>): Promise<void> {
    let pagesPerCommit = 0
    await work().catch(() => {
      pagesPerCommit = this.#log.settings.pagesPerCopy
    })
    this.#log.writer.exec(`PRAGMA wal_autocheckpoint = ${pagesPerCommit}`)
  }

  #pages(): number {
    return Number(this.#countPages.get()?.log)
  }

  async settle(): Promise<void> {
    await this.#copying
    await this.#checkpoints.close()
  }

  close(): void {
    closeSync(this.#log.file)
  }
}
