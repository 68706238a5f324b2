import { closeSync, existsSync, fsyncSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { UsageError } from '../base/errors.ts'
import type { Db } from './database.ts'
import { explain } from './database-file.ts'
import { migrations } from './migrations.ts'
import { createReader } from './sqlite.ts'

/** A database that is only read. Its SuperLink may run and write meanwhile. */
export interface ReadOnlyDatabase extends AsyncDisposable {
  readonly read: Db
  /** Returns one sentence for each fault of the file itself, at most 100. */
  listFaults(): string[]
  /** Writes the committed state into a new file that only its owner can read, and returns when it is on disk. */
  copyTo(path: string): void
}

/** Opens a database of this release or an earlier one. Throws a UsageError with a remedy. */
export function openReadOnly(path: string): ReadOnlyDatabase {
  if (!existsSync(path))
    throw new UsageError(`There is no database ${path}: name that of the SuperLink with --database.`)
  const explained = <T>(action: () => T): T => {
    try {
      return action()
    } catch (error) {
      throw explain(error, path)
    }
  }
  const connection = explained(() => new DatabaseSync(path, { readOnly: true }))
  explained(() => connection.exec('PRAGMA busy_timeout = 5000'))
  explained(() => ensureOurs(connection, path))
  const read = createReader(connection, () => undefined)
  return {
    read,
    listFaults: () => explained(() => [...listPageFaults(connection), ...listIncompleteValues(connection)]),
    copyTo(target) {
      closeSync(openSync(target, 'wx', 0o600))
      explained(() => connection.prepare('VACUUM INTO ?').run(target))
      const file = openSync(target, 'r')
      fsyncSync(file)
      closeSync(file)
    },
    [Symbol.asyncDispose]: () => read.destroy(),
  }
}

function ensureOurs(connection: DatabaseSync, path: string): void {
  const { user_version: version } = connection.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version === 0) throw new UsageError(`The database ${path} is not one of a SuperLink of Trellis.`)
  if (version > migrations.length)
    throw new UsageError(
      `The database ${path} was written by a newer release (version ${version}, this one knows ${migrations.length}): upgrade this program.`,
    )
}

function listPageFaults(connection: DatabaseSync): string[] {
  const rows = connection.prepare(`PRAGMA integrity_check(${faultsMax})`).all() as { integrity_check: string }[]
  return rows
    .map((row) => row.integrity_check)
    .filter((text) => text !== 'ok')
    .map((text) => `The database file is damaged: ${text}.`)
}

/** Values of many megabytes are kept in parts (`large-values.ts`), all of which must be there. */
function listIncompleteValues(connection: DatabaseSync): string[] {
  const tables = connection
    .prepare(
      "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'parts' ORDER BY 1",
    )
    .all() as { name: string }[]
  return tables.flatMap(({ name }) => {
    const incomplete = connection
      .prepare(
        `SELECT parts FROM "${name}" WHERE parts IS NOT NULL AND CAST(parts AS INTEGER) <>
          (SELECT COALESCE(SUM(LENGTH(content)), 0) FROM part WHERE part.name = parts) LIMIT ${faultsMax}`,
      )
      .all() as { parts: string }[]
    return incomplete.map(({ parts }) => `A value of the table ${name} lacks parts (${parts}).`)
  })
}

const faultsMax = 100
