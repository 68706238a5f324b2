import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { errorText, UsageError } from '../base/errors.ts'
import { isDiskFull } from '../base/full-disk.ts'

/** The files of a database: their access, their lock, and what is wrong with them in words with a remedy. */

/** How much of the file is read in place, by each connection. */
export const mappedBytesMax = 256 * 1024 * 1024

export function openFile(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path)
  } catch (error) {
    throw explain(error, path)
  }
}

/**
 * Creates the files for their owner alone, and takes the access of others to existing ones away: they hold what apps exchange.
 * SQLite gives its other files the same mode. What cannot be done here is reported when the file is opened.
 */
export function makePrivate(path: string): void {
  try {
    for (const name of [path, `${path}.lock`]) {
      // An existing file is not opened: closing it would give back a lock that this process holds.
      if (!existsSync(name)) closeSync(openSync(name, 'wx', 0o600))
    }
    for (const name of [path, `${path}-wal`, `${path}-shm`, `${path}.lock`])
      if (existsSync(name)) chmodSync(name, statSync(name).mode & 0o700)
  } catch {
    // Another user's file, or a folder that cannot be written.
  }
}

/** Held for the life of the process and given back by the system even after `kill -9`. */
export function takeLock(path: string): DatabaseSync {
  const lock = openFile(`${path}.lock`)
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock.close()
    throw explain(error, path)
  }
}

/** The sentence for an operator whose database cannot be used, with a remedy. */
export function explain(error: unknown, path: string): UsageError {
  if (error instanceof UsageError) return error
  const text = errorText(error)
  const say = (what: string): UsageError => new UsageError(`The database ${path} ${what}`, { cause: error })
  if (/locked|busy/i.test(text))
    return say('is in use by another SuperLink: stop that one or give another file with --database.')
  if (/not a database|malformed|corrupt/i.test(text)) {
    return say('is damaged or not a database: restore it from a copy, or move it away to start afresh.')
  }
  if (/readonly|read-only/i.test(text))
    return say('is read-only: give this user write access to the file and its folder.')
  if (isDiskFull(error)) return say('cannot be written because the disk is full: free some space.')
  return say(`cannot be opened (${text}): check that its folder exists and can be written.`)
}
