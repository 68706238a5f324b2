import type { DatabaseSync } from 'node:sqlite'
import { UsageError } from '../base/errors.ts'
import { migrations } from './migrations.ts'

/**
 * Sets up the connection that writes, and brings the tables to this release. Calls `onConverting` with a sentence before it
 * converts those of an older one. Throws a UsageError if it cannot.
 */
export function prepare(
  writer: DatabaseSync,
  path: string,
  { isFile, onConverting = () => {} }: { isFile: boolean; onConverting?: ((what: string) => void) | undefined },
): void {
  const flower = writer.prepare("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").get()
  if (flower) {
    throw new UsageError(`The database ${path} belongs to Flower's own SuperLink: give another file with --database.`, {
      flowerCode: 105,
    })
  }
  if (isFile) writer.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
  writer.exec('PRAGMA foreign_keys = ON; PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY')
  const { user_version: version } = writer.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > migrations.length) {
    throw new UsageError(
      `The database ${path} was written by a newer release (version ${version}, this one knows ${migrations.length}): upgrade this program or give another file with --database.`,
      { flowerCode: 105 },
    )
  }
  if (version > 0 && version < migrations.length)
    onConverting(
      `Converting the database ${path} from version ${version} to ${migrations.length}. Older releases cannot open it afterwards.`,
    )
  migrations.slice(version).forEach((sql, index) => {
    writer.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${version + index + 1}; COMMIT`)
  })
}
