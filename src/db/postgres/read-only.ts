import pg from 'pg'
import { UsageError } from '../../base/errors.ts'
import type { Db } from '../database.ts'
import { explainRefusal, isConnectionLoss, lossText } from './connect-errors.ts'
import { createQueries } from './dialect.ts'
import { firstVersion, postgresMigrations } from './postgres-migrations.ts'
import { findVersion } from './prepare-tables.ts'
import { clientConfig, destroy, prepareSession, query } from './session.ts'
import type { PostgresTarget } from './target.ts'

/** A database that is only read, without its lock: its SuperLink may run and write meanwhile. */
export interface ReadOnlyPostgres extends AsyncDisposable {
  readonly read: Db
  /** Of the server. */
  readonly release: string
  /** Returns one sentence for each value that is not complete, at most 100 of a table. */
  listFaults(): Promise<string[]>
}

/** Throws a UsageError with a remedy if the database cannot be reached, or is not one of a SuperLink of this release. */
export async function openPostgresReadOnly(target: PostgresTarget): Promise<ReadOnlyPostgres> {
  const client = new pg.Client(clientConfig(target))
  client.on('error', () => {})
  try {
    await client.connect()
    await prepareSession(client, target)
    await client.query('SET default_transaction_read_only = on')
    await ensureOurs(client, target)
    const { rows } = await client.query("SELECT current_setting('server_version') AS release")
    const explain = (error: unknown): never => {
      if (!isConnectionLoss(error)) throw error
      const what = `The connection to the database ${target.label} was lost (${lossText(error)})`
      throw new UsageError(`${what}: try again.`, { cause: error })
    }
    return {
      read: createQueries((text, values) => query(client, text, values).catch(explain)),
      release: (rows[0] as { release: string }).release,
      listFaults: () => listIncompleteValues(client).catch(explain),
      [Symbol.asyncDispose]: () => client.end(),
    }
  } catch (error) {
    destroy(client)
    if (!isConnectionLoss(error)) throw explainRefusal(error, target)
    const what = `The database ${target.label} cannot be reached (${lossText(error)})`
    throw new UsageError(`${what}: start its server, or correct --database.`, { cause: error })
  }
}

async function ensureOurs(client: pg.ClientBase, target: PostgresTarget): Promise<void> {
  const newest = firstVersion + postgresMigrations.length
  const version = await findVersion(client, target)
  if (version === undefined)
    throw new UsageError(`The database ${target.label} is not one of a SuperLink of Trellis: correct --database.`)
  if (version < newest)
    throw new UsageError(
      `The database ${target.label} was written by an older release (version ${version}, this one has ${newest}): start the SuperLink of this release first, or use the command of that one.`,
    )
}

/** As in SQLite: values of many megabytes are kept in parts, all of which must be there. */
async function listIncompleteValues(client: pg.ClientBase): Promise<string[]> {
  const { rows: tables } = await client.query(
    "SELECT table_name AS name FROM information_schema.columns WHERE table_schema = current_schema() AND column_name = 'parts' ORDER BY 1",
  )
  const faults: string[] = []
  for (const { name } of tables as { name: string }[]) {
    const { rows } = await client.query(
      `SELECT parts FROM "${name}" WHERE parts IS NOT NULL AND substring(parts FROM '^[0-9]+')::bigint <>
        (SELECT COALESCE(SUM(LENGTH(content)), 0) FROM part WHERE part.name = parts) LIMIT 100`,
    )
    for (const { parts } of rows as { parts: string }[])
      faults.push(`A value of the table ${name} lacks parts (${parts}).`)
  }
  return faults
}
