import { UsageError } from '../../base/errors.ts'
import { type OptionRow, parseOptions } from '../../base/options.ts'
import { isPostgresUrl } from '../../db/postgres/target.ts'

/** Options of the commands that look at the stored state of a SuperLink. */
export const rows: readonly OptionRow[] = [
  { flags: '--database <path>', help: 'SQLite file of the SuperLink, which may run meanwhile' },
  { flags: '--storage-dir <path>', help: 'folder for large objects; by default beside the database' },
]

/** Where the state of a SuperLink is. */
export interface StoredState {
  readonly path: string
  readonly objects: string
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
  return { path, objects: (values.storageDir as string | undefined) ?? besideDatabase(path) }
}

/** Where large objects are, unless `--storage-dir` says otherwise. */
export function besideDatabase(path: string): string {
  return `${path}.objects`
}
