import { isDiskFull, unwritableReason } from '../base/full-disk.ts'
import { asTransaction } from './committed-reads.ts'
import type { AfterCommit, Db } from './database.ts'

/** A transaction in the queue. */
export interface Job {
  readonly body: (tx: Db, afterCommit: AfterCommit) => Promise<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** The connection that writes. */
export interface Writer {
  /** Whether a transaction is open. */
  readonly isTransaction: boolean
  /**
   * Whether the first transaction is a savepoint too. In PostgreSQL a failed statement that the transaction overlooks spoils
   * all others, and only the end of a savepoint reports it.
   */
  readonly savesFirst?: boolean
  /** Runs statements that return nothing. */
  exec(sql: string): void | Promise<void>
}

/**
 * Transactions that share a commit: each is a savepoint of the common transaction, which the caller begins and commits. A
 * transaction that fails does not disturb the others. All of them are settled when the commit is on disk, or has failed.
 */
export class CommitGroup {
  readonly #writer: Writer
  readonly #begin: string
  readonly #write: Db
  readonly #explain: (error: unknown) => Error
  readonly #jobs: Job[] = []
  readonly #effects: (() => void)[] = []
  readonly #settled: (() => void)[] = []

  /** `explain` turns the error of a full disk into one for the caller; `begin` begins the common transaction. */
  constructor(writer: Writer, write: Db, explain: (error: unknown) => Error, begin = 'BEGIN IMMEDIATE') {
    this.#writer = writer
    this.#begin = begin
    this.#write = write
    this.#explain = explain
  }

  get size(): number {
    return this.#jobs.length
  }

  /** Throws if the whole transaction has ended, as it does if the disk is full. */
  async run(job: Job): Promise<void> {
    this.#jobs.push(job)
    // If the first one fails, the transaction begins anew: for a savepoint SQLite keeps a copy of each changed page.
    const isFirst = this.#jobs.length === 1 && !this.#writer.savesFirst
    const effects: (() => void)[] = []
    if (!isFirst) await this.#writer.exec('SAVEPOINT job')
    try {
      const value = await asTransaction(() => job.body(this.#write, (effect) => effects.push(effect)))
      if (!isFirst) await this.#writer.exec('RELEASE job')
      this.#effects.push(...effects)
      this.#settled.push(() => job.resolve(value))
    } catch (error) {
      if (!this.#writer.isTransaction) throw error
      await this.#writer.exec(isFirst ? `ROLLBACK; ${this.#begin}` : 'ROLLBACK TO job; RELEASE job')
      const failure = isDiskFull(error) || unwritableReason(error) !== undefined ? this.#explain(error) : error
      this.#settled.push(() => job.reject(failure))
    }
  }

  /** After the commit. An effect that throws does not keep the others from happening, nor callers from being settled. */
  settle(onEffectFailed: (error: unknown) => void): void {
    for (const effect of this.#effects) {
      try {
        effect()
      } catch (error) {
        onEffectFailed(error)
      }
    }
    for (const settle of this.#settled) settle()
  }

  reject(error: unknown): void {
    for (const job of this.#jobs) job.reject(error)
  }
}
