import { systemClock } from '../../base/clock.ts'
import { UsageError } from '../../base/errors.ts'
import { type OptionRow, parseOptions } from '../../base/options.ts'
import { isPostgresUrl } from '../../db/postgres/target.ts'
import type { Bucket } from '../../objects/bucket/bucket.ts'
import { bucketOf } from '../../objects/bucket/open-bucket.ts'
import { bucketSource, folderSource, type ObjectSource } from '../../objects/object-source.ts'
import { bucketRows, readStorage } from '../config-storage.ts'

/** Options of the commands that look at the stored state of a SuperLink. */
export const rows: readonly OptionRow[] = [
  { flags: '--database <path>', help: 'SQLite file of the SuperLink, which may run meanwhile' },
  { flags: '--storage-dir <path>', help: 'folder for large objects; by default beside the database' },
  ...bucketRows,
]

/** Where the state of a SuperLink is. */
export interface StoredState {
  readonly path: string
  /** The folder for large objects. */
  readonly objects: string
  /** Has them instead of the folder. */
  readonly bucket?: Bucket | undefined
}

export function sourceOf({ objects, bucket }: StoredState): ObjectSource {
  return bucket ? bucketSource(bucket) : folderSource(objects)
}

/** `undefined` when help or version was printed. Throws a UsageError if the database is not named. */
export function parseStoredState(name: string, summary: string, argv: readonly string[]): StoredState | undefined {
  const values = parseOptions(name, summary, rows, argv)
  if (!values) return undefined
  const path = values.database as string | undefined
  if (!path) throw new UsageError(`${name}: name the database of the SuperLink with --database.`, { exitStatus: 2 })
  if (isPostgresUrl(path))
    throw new UsageError(
      `${name} is for SQLite files: of PostgreSQL, copy the database with pg_dump and the --storage-dir after it.`,
    )
  const storage = readStorage(values)
  const bucket = storage && bucketOf({ ...storage, sleep: (ms) => systemClock.sleep(ms) })
  return { path, bucket, objects: (values.storageDir as string | undefined) ?? besideDatabase(path) }
}

/** Where large objects are, unless `--storage-dir` says otherwise. */
export function besideDatabase(path: string): string {
  return `${path}.objects`
}
