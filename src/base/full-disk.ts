import { DomainError } from './errors.ts'

/** Whether a write failed because the disk, or the quota of this user, is full: as Node's file system, SQLite and PostgreSQL say it. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  if (code === 'ERR_SQLITE_ERROR') return errcode === sqliteFull || errcode === sqliteSharedMemorySize
  return code === 'ENOSPC' || code === 'EDQUOT' || code === postgresFull
}

/** Whether a call was refused because the disk is full: then nothing of it was stored. */
export function isStorageFull(error: unknown): boolean {
  return error instanceof DomainError && error.code === 'storage-full'
}

const postgresFull = '53100'
const sqliteFull = 13
/** The index of the write-ahead log could not grow. */
const sqliteSharedMemorySize = 4874
