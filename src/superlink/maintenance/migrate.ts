import { existsSync } from 'node:fs'
import { UsageError } from '../../base/errors.ts'
import { type OptionRow, parseOptions } from '../../base/options.ts'
import type { Main } from '../../base/program.ts'
import { copyTable, findFilledTable, fingerprint, tables } from '../../db/copy-rows.ts'
import { continueNumbers } from '../../db/postgres/continue-numbers.ts'
import { isPostgresUrl } from '../../db/postgres/target.ts'
import { renewObjectOwner } from '../object-place.ts'
import { openStopped } from './open-stopped.ts'

export const migrateRows: readonly OptionRow[] = [
  { flags: '--from <database>', help: 'SQLite file or postgres://USER@HOST/DATABASE of a SuperLink that is stopped' },
  { flags: '--to <database>', help: 'new SQLite file, or postgres://USER@HOST/DATABASE of an empty database' },
]

const summary = 'Copy the state of a stopped SuperLink into a database of the other kind, and compare both.'

/** `flower-superlink migrate --from FILE --to URL`, and back. */
export const migrateCommand: Main = async (argv, signal) => {
  const values = parseOptions('flower-superlink migrate', summary, migrateRows, argv)
  if (!values) return 0
  const { from, to } = values as { from?: string; to?: string }
  if (!from || !to)
    throw new UsageError('Name both databases: flower-superlink migrate --from DATABASE --to DATABASE.', {
      exitStatus: 2,
    })
  const rows = await migrate(from, to, signal)
  process.stdout.write(
    `Copied ${rows} rows in ${tables.length} tables, and compared them: both databases hold the same.\n` +
      'Large objects are files, which stay where they are: start the SuperLink with --storage-dir and the same folder (beside an SQLite file it is FILE.objects).\n',
  )
  return 0
}

/** Returns how many rows were copied. Throws a UsageError if a database is in use, or the new one is not empty. */
export async function migrate(from: string, to: string, signal?: AbortSignal): Promise<number> {
  if (isPostgresUrl(from) === isPostgresUrl(to))
    throw new UsageError(
      'Both databases are of the same kind: name one SQLite file and one postgres:// URL. To copy a file use flower-superlink backup, and within PostgreSQL pg_dump.',
      { exitStatus: 2 },
    )
  if (!isPostgresUrl(from) && !existsSync(from))
    throw new UsageError(`There is no database ${from}: name that of the SuperLink with --from.`)
  await using source = await openStopped('--from', from)
  await using target = await openStopped('--to', to)
  const filled = await findFilledTable(target.read)
  if (filled !== undefined)
    throw new UsageError(`The database of --to is not empty (table ${filled}): name an empty one, or empty it first.`)
  let count = 0
  for (const table of tables) {
    signal?.throwIfAborted()
    const copied = await copyTable(table, source.read, target)
    const stored = await fingerprint(table, target.read)
    if (copied.rows !== stored.rows || copied.hash !== stored.hash)
      throw new UsageError(
        `The copy of the table ${table} differs (${copied.rows} rows, ${stored.rows} in the copy): empty the database of --to, and try again.`,
      )
    count += copied.rows
  }
  if (isPostgresUrl(to)) await continueNumbers(target)
  await renewObjectOwner(source)
  return count
}
