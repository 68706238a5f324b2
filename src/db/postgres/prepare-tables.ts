import type pg from 'pg'
import { UsageError } from '../../base/errors.ts'
import { firstTables, firstVersion, postgresMigrations } from './postgres-migrations.ts'
import { serverLimits } from './server-limits.ts'
import type { PostgresTarget } from './target.ts'

const newest = firstVersion + postgresMigrations.length

/** Any number that no other program is likely to use: two programs that start at once take turns. */
const migrationLock = 7_226_815_001

/**
 * Brings the tables to this release. Calls `onConverting` with a sentence before it converts those of an older one, which may
 * take long. Throws a UsageError if a newer release or Flower itself has written them.
 */
export async function prepareTables(
  client: pg.ClientBase,
  target: PostgresTarget,
  onConverting: (what: string) => void,
): Promise<void> {
  const { label } = target
  await client.query('BEGIN')
  try {
    await client.query(`SELECT pg_advisory_xact_lock(${migrationLock})`)
    const known = await findVersion(client, target)
    if (known === undefined) {
      await client.query(
        `CREATE TABLE trellis_version (version bigint NOT NULL, writer text);
        INSERT INTO trellis_version VALUES (${firstVersion});
        ${firstTables}`,
      )
    }
    const version = known ?? firstVersion
    if (version < newest) {
      if (known !== undefined)
        onConverting(`Converting the tables of the database ${label} from version ${version} to ${newest}.`)
      await client.query('SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0')
      const query_timeout = serverLimits.convertMs
      for (const text of postgresMigrations.slice(version - firstVersion))
        await client.query({ text, query_timeout } as pg.QueryConfig)
      await client.query(`UPDATE trellis_version SET version = ${newest}`)
    }
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

/**
 * Returns the version of the tables; `undefined` if there are none. Throws a UsageError if a newer release or Flower itself has
 * written them. A standby asks this before it waits: after an upgrade it would wait for nothing.
 */
export async function findVersion(client: pg.ClientBase, { label }: PostgresTarget): Promise<number | undefined> {
  const { rows } = await client.query(
    `SELECT to_regclass('alembic_version') IS NOT NULL AS flower, to_regclass('trellis_version') IS NOT NULL AS known`,
  )
  const { flower, known } = rows[0] as { flower: number; known: number }
  if (flower === 1)
    throw new UsageError(`The database ${label} belongs to Flower's own SuperLink: name another one with --database.`)
  if (known === 0) return undefined
  const version = Number((await client.query('SELECT version FROM trellis_version')).rows[0]?.version)
  if (version > newest)
    throw new UsageError(
      `The database ${label} was written by a newer release (version ${version}, this one knows ${newest}): upgrade this program or name another database.`,
    )
  return version
}
