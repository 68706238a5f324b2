import type { DatabaseSync } from 'node:sqlite'
import { isDiskFull } from '../base/full-disk.ts'
import { asTransaction } from './committed-reads.ts'
import type { AfterCommit, Db } from './database.ts'

/** A transaction in the queue. */
export interface Job {
  readonly body: (tx: Db, afterCommit: AfterCommit) => Promise<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * Transactions that share a commit: each is a savepoint of the common transaction, which the caller begins and commits. A
 * transaction that fails does not disturb the others. All of them are settled when the commit is on disk, or has failed.
 */
export class CommitGroup {
  readonly #writer: DatabaseSync
  readonly #write: Db
  readonly #explain: (error: unknown) => Error
  readonly #jobs: Job[] = []
  readonly #effects: (() => void)[] = []
  readonly #settled: (() => void)[] = []

  /** `explain` turns the error of a full disk into one for the caller. */
  constructor(writer: DatabaseSync, write: Db, explain: (error: unknown) => Error) {
    this.#writer = writer
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
    const isFirst = this.#jobs.length === 1
    const effects: (() => void)[] = []
    if (!isFirst) this.#writer.exec('SAVEPOINT job')
    try {
      const value = await asTransaction(() => job.body(this.#write, (effect) => effects.push(effect)))
      if (!isFirst) this.#writer.exec('RELEASE job')
      this.#effects.push(...effects)
      this.#settled.push(() => job.resolve(value))
    } catch (error) {
      if (!this.#writer.isTransaction) throw error
      this.#writer.exec(isFirst ? 'ROLLBACK; BEGIN IMMEDIATE' : 'ROLLBACK TO job; RELEASE job')
      const failure = isDiskFull(error) ? this.#explain(error) : error
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
