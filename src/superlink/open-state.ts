import { dirname } from 'node:path'
import { errorText } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { StorageRoom } from '../base/storage-room.ts'
import { type Database, inMemory, openDatabase } from '../db/database.ts'
import { openPostgres } from '../db/postgres/postgres-database.ts'
import type { SuperlinkConfig } from './config.ts'

export interface StateNotices {
  readonly room: StorageRoom
  readonly log: Logger
  readonly onCommit: (seconds: number, waiting: number) => void
  /** Called once with a sentence when nothing is stored any more until a restart. */
  readonly onFailed: (reason: string) => void
  /** Ends the wait for a database server that cannot be reached. */
  readonly signal: AbortSignal | undefined
}

/** Opens the database of the configuration. A database server that cannot be reached yet is waited for. */
export async function openState(
  { database, simulation }: Pick<SuperlinkConfig, 'database' | 'simulation'>,
  { room, log, onCommit, onFailed, signal }: StateNotices,
): Promise<Database> {
  const onEffectFailed = (error: unknown): void =>
    log.error('What follows a commit failed', { error: errorText(error) })
  const notices = { onCommit, onFailed, onEffectFailed }
  if (database.engine === 'postgres') {
    const { target } = database
    const onFull = (): void => room.noteFull(target.label)
    const onLost = (reason: string): void => room.noteLost(reason)
    return openPostgres(target, { ...notices, onFull, onLost, onBack: () => room.noteBack() }, signal)
  }
  const path = database.engine === 'sqlite' ? database.path : inMemory
  // What is simulated can be simulated again.
  const survives = simulation ? 'crash' : 'power-cut'
  return openDatabase({ ...notices, path, survives, onFull: () => room.noteFull(dirname(path)) })
}
