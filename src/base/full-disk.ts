import { DomainError } from './errors.ts'

/** Whether a write failed because the disk, or the quota of this user, is full: as Node's file system, SQLite and PostgreSQL say it. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  if (code === 'ERR_SQLITE_ERROR') return errcode === sqliteFull || errcode === sqliteSharedMemorySize
  return code === 'ENOSPC' || code === 'EDQUOT' || code === postgresFull
}

/**
 * Why nothing can be written for now, with the remedy: the file system is read-only, the disk fails, or another program has
 * locked the database. `undefined` for other errors.
 */
export function unwritableReason(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  if (code === 'EROFS') return readOnlyReason
  if (code !== 'ERR_SQLITE_ERROR' || typeof errcode !== 'number') return undefined
  return sqliteReasons[errcode & 0xff]
}

const readOnlyReason = 'it is read-only: mount the file system for writing'
const sqliteReasons: Readonly<Record<number, string>> = {
  5: 'another program has locked the database: end that program',
  6: 'another program has locked the database: end that program',
  8: readOnlyReason,
  10: 'the disk reports an error: check whether it was mounted read-only, and its state',
}

/** Whether a call was refused because the disk is full: then nothing of it was stored. */
export function isStorageFull(error: unknown): boolean {
  return error instanceof DomainError && error.code === 'storage-full'
}

/** Whether a call was refused because nothing can be stored for now: the disk is full, or the database cannot be reached or written. */
export function isNotStored(error: unknown): boolean {
  return isStorageFull(error) || (error instanceof DomainError && error.code === 'unavailable')
}

const postgresFull = '53100'
const sqliteFull = 13
/** The index of the write-ahead log could not grow. */
const sqliteSharedMemorySize = 4874
