import { systemClock } from '../../base/clock.ts'
import { UsageError } from '../../base/errors.ts'
import { type OptionRow, parseOptions } from '../../base/options.ts'
import { isPostgresUrl, type PostgresTarget } from '../../db/postgres/target.ts'
import type { Bucket } from '../../objects/bucket/bucket.ts'
import { bucketOf } from '../../objects/bucket/open-bucket.ts'
import { bucketSource, folderSource, type ObjectSource } from '../../objects/object-source.ts'
import { readPostgresUrl } from '../config-database.ts'
import { bucketRows, readStorage } from '../config-storage.ts'

const placeRows: readonly OptionRow[] = [
  { flags: '--storage-dir <path>', help: 'folder for large objects; by default beside the database' },
  ...bucketRows,
]

/** Options of `check`. */
export const checkRows: readonly OptionRow[] = [
  {
    flags: '--database <path>',
    help: 'database of the SuperLink, which may run meanwhile: an SQLite file or postgres://USER@HOST/DATABASE',
  },
  ...placeRows,
]

/** Options of `backup`. */
export const backupRows: readonly OptionRow[] = [
  { flags: '--database <path>', help: 'SQLite file of the SuperLink, which may run meanwhile' },
  ...placeRows,
]

/** Options of `move-objects`. */
export const moveRows: readonly OptionRow[] = [
  { flags: '--database <path>', help: 'SQLite file of the SuperLink, which must not run meanwhile' },
  ...placeRows,
]

/** Where the state of a SuperLink is. */
export interface StoredState {
  /** The SQLite file, or how messages name the database. */
  readonly path: string
  readonly postgres?: PostgresTarget | undefined
  /** The folder for large objects. */
  readonly objects: string
  /** Has them instead of the folder. */
  readonly bucket?: Bucket | undefined
}

export function sourceOf({ objects, bucket }: StoredState): ObjectSource {
  return bucket ? bucketSource(bucket) : folderSource(objects)
}

/**
 * `undefined` when help or version was printed. Throws a UsageError if the database is not named, or if it is in PostgreSQL and the
 * command gives `remedy` for that.
 */
export function parseStoredState(
  name: string,
  summary: string,
  rows: readonly OptionRow[],
  argv: readonly string[],
  remedy?: string,
): StoredState | undefined {
  const values = parseOptions(name, summary, rows, argv)
  if (!values) return undefined
  const path = values.database as string | undefined
  if (!path) throw new UsageError(`${name}: name the database of the SuperLink with --database.`, { exitStatus: 2 })
  if (remedy !== undefined && isPostgresUrl(path)) throw new UsageError(`${name} is for SQLite files: ${remedy}`)
  const storage = readStorage(values)
  const bucket = storage && bucketOf({ ...storage, sleep: (ms) => systemClock.sleep(ms) })
  const folder = values.storageDir as string | undefined
  if (!isPostgresUrl(path)) return { path, bucket, objects: folder ?? besideDatabase(path) }
  if (folder === undefined && !bucket)
    throw new UsageError(`${name}: name the place of the large objects with --storage-dir DIR or --storage s3://….`)
  const postgres = readPostgresUrl(path)
  return { path: postgres.label, postgres, bucket, objects: folder ?? '' }
}

/** Where large objects are, unless `--storage-dir` says otherwise. */
export function besideDatabase(path: string): string {
  return `${path}.objects`
}
