import { dirname } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { StorageRoom } from '../base/storage-room.ts'
import { type Database, inMemory, openDatabase } from '../db/database.ts'
import { openPostgres } from '../db/postgres/postgres-database.ts'
import { BucketError } from '../objects/bucket/bucket-errors.ts'
import { bucketOf } from '../objects/bucket/open-bucket.ts'
import type { SuperlinkConfig } from './config.ts'
import type { StorageConfig } from './config-storage.ts'
import type { SuperlinkHealth } from './superlink-health.ts'

export interface StateNotices {
  readonly room: StorageRoom
  readonly log: Logger
  readonly onCommit: (seconds: number, waiting: number) => void
  readonly health: Pick<SuperlinkHealth, 'check' | 'fail'>
  /** Called while this SuperLink waits until another one ends. */
  readonly onStandby: (() => void) | undefined
  /** Called once with a sentence when another SuperLink has taken over. */
  readonly onTakenOver: (reason: string) => void
  /** Ends the wait for a database server that cannot be reached, or for another SuperLink. */
  readonly signal: AbortSignal | undefined
}

/** Opens the database of the configuration. A database server that cannot be reached yet is waited for. */
export async function openState(
  { database, simulation, storage }: Pick<SuperlinkConfig, 'database' | 'simulation' | 'storage'>,
  { room, log, health, onCommit, onStandby, onTakenOver, signal }: StateNotices,
): Promise<Database> {
  const onEffectFailed = (error: unknown): void =>
    log.error('What follows a commit failed', { error: errorText(error) })
  const onConverting = (what: string): void => log.info(what)
  const notices = { onCommit, onConverting, onFailed: (reason: string) => health.fail(reason), onEffectFailed }
  if (database.engine === 'postgres') {
    const { target } = database
    const onFull = (): void => room.noteFull(target.label)
    const onLost = (reason: string): void => room.noteLost(reason)
    let standbySince: string | undefined
    const onWaiting = (reason: string): void => {
      standbySince ??= new Date().toISOString()
      log.info(reason)
      health.check({ unreadiness: () => room.trouble ?? `${reason} It has waited since ${standbySince}.` })
      onStandby?.()
      if (storage) void warnOfBucket(storage, log)
    }
    const onBack = (): void => room.noteBack()
    const ofServer = { onFull, onLost, onBack, onWaiting, onTakenOver }
    return openPostgres(target, { ...notices, ...ofServer }, signal)
  }
  const path = database.engine === 'sqlite' ? database.path : inMemory
  // What is simulated can be simulated again.
  const survives = simulation ? 'crash' : 'power-cut'
  return openDatabase({ ...notices, path, survives, ...room.noticesOf(dirname(path)) })
}

/** Warns while another SuperLink serves if this one could not use its bucket now: it would end when it takes over. */
async function warnOfBucket(storage: StorageConfig, log: Logger): Promise<void> {
  using bucket = bucketOf({ ...storage, sleep: (ms) => systemClock.sleep(ms) })
  try {
    await bucket.probe('get')
  } catch (error) {
    log.warn(
      `This standby could not take over now: ${error instanceof BucketError ? error.sentence : errorText(error)}`,
    )
  }
}
