import { UsageError } from '../../base/errors.ts'
import { type Database, openDatabase } from '../../db/database.ts'
import { openPostgres } from '../../db/postgres/postgres-database.ts'
import { isPostgresUrl } from '../../db/postgres/target.ts'
import { readPostgresUrl } from '../config-database.ts'

/** Opens the database of a SuperLink that is stopped. Throws a UsageError that names the option if it is in use. */
export async function openStopped(option: string, name: string): Promise<Database> {
  if (!isPostgresUrl(name)) return openDatabase({ path: name })
  const waiting = new AbortController()
  const give = (reason: string): void => waiting.abort(new UsageError(reason))
  const notices = {
    onWaiting: () => give(`The database of ${option} is in use by a SuperLink: stop it first, and its standbys.`),
    onLost: give,
  }
  try {
    return await openPostgres(readPostgresUrl(name), notices, waiting.signal)
  } catch (error) {
    throw waiting.signal.aborted ? waiting.signal.reason : error
  }
}
