import type { Socket } from 'node:net'
import type pg from 'pg'
import { UsageError } from '../../base/errors.ts'
import { fromStored, toStored } from '../row.ts'
import { serverLimits } from './server-limits.ts'
import { type PostgresTarget, readPassword, tlsOptions } from './target.ts'

/** The oldest release of PostgreSQL that its makers still maintain. */
const oldestVersion = 14

/** Returns how a connection is made, and how its results are read. */
export function clientConfig(target: PostgresTarget): pg.ClientConfig {
  const { host, port, user, database } = target
  const password = readPassword(target)
  return {
    ...{ host, port, user, database, ssl: tlsOptions(target) },
    ...(password === undefined ? {} : { password }),
    application_name: 'flower-superlink',
    connectionTimeoutMillis: serverLimits.connectMs,
    // A server that has vanished sends nothing, not even the end of the connection, and the system does not probe a
    // connection with a request under way: this timeout is the last resort (see `silentMs`).
    query_timeout: serverLimits.statementMs + serverLimits.connectMs,
    keepAlive: true,
    types: { getTypeParser: (oid: number) => parsers.get(oid) ?? ((text: string) => text) },
  } as pg.ClientConfig
}

/** By the number of the type: all that the tables have, and sums. Integers become what they are in `row.ts`. */
const parsers = new Map<number, (text: string) => unknown>([
  [16, (text) => (text === 't' ? 1 : 0)],
  [17, bytesOf],
  [20, BigInt],
  [23, Number],
  [701, Number],
  [1700, Number],
])

/** As SQLite returns bytes. */
function bytesOf(text: string): Uint8Array {
  const bytes = Buffer.from(text.slice(2), 'hex')
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** Names of prepared statements: the set of queries is small and fixed, but for lists of values. */
const names = new Map<string, string>()
const statementsMax = 500

function nameOf(text: string): string | undefined {
  const known = names.get(text)
  if (known || names.size >= statementsMax) return known
  const name = `s${names.size}`
  names.set(text, name)
  return name
}

/** Runs a statement, prepared if its text is one of the many that return. */
export async function query(
  on: Pick<pg.ClientBase, 'query'>,
  text: string,
  values: readonly unknown[],
): Promise<pg.QueryResult> {
  const name = nameOf(text)
  const result = await on.query({ ...(name === undefined ? {} : { name }), text, values: values.map(toBound) })
  for (const row of result.rows) fromStored(row)
  return result
}

/** PostgreSQL stores every character but NUL, which programs may print. */
function toBound(value: unknown): unknown {
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\u2400') : toStored(value)
}

/**
 * Prepares a new connection: it waits for no lock and no statement without a limit, its commits are on disk, and settings of
 * the database or the role do not change how transactions see each other and how values are written. Throws a UsageError if the server or the database is not fit for a SuperLink.
 */
export async function prepareSession(client: pg.ClientBase, { label }: PostgresTarget): Promise<void> {
  const { rows } = await client.query(
    `SELECT current_setting('server_version_num')::integer / 10000 AS version, current_setting('server_encoding') AS encoding,
      pg_is_in_recovery()::integer AS is_copy, current_setting('synchronous_commit') AS commits`,
  )
  const { version, encoding, is_copy: isCopy, commits } = rows[0] as Record<string, unknown>
  if (Number(version) < oldestVersion)
    throw new UsageError(
      `The database ${label} is one of PostgreSQL ${version}: upgrade it to ${oldestVersion} or later.`,
    )
  if (encoding !== 'UTF8')
    throw new UsageError(
      `The database ${label} has the encoding ${encoding}: create another one with createdb --encoding UTF8 --template template0.`,
    )
  if (isCopy === 1)
    throw new UsageError(`The database ${label} is a standby, which cannot be written: name the primary server.`)
  const { idle, interval, count } = serverLimits.keepAliveSeconds
  // A machine that has lost its power closes no connection: both systems probe a connection on which nothing happens.
  streamOf(client).setKeepAlive(true, idle * 1000, interval * 1000, count)
  await client.query(
    `SET statement_timeout = ${serverLimits.statementMs}; SET lock_timeout = ${serverLimits.statementMs};
    SET idle_in_transaction_session_timeout = ${serverLimits.statementMs};
    ${commits === 'off' ? 'SET synchronous_commit = on;' : ''}
    SET default_transaction_isolation = 'read committed'; SET bytea_output = hex; SET extra_float_digits = 1;
    SET tcp_keepalives_idle = ${idle}; SET tcp_keepalives_interval = ${interval}; SET tcp_keepalives_count = ${count};
    SET tcp_user_timeout = ${(idle + interval * count) * 1000}`,
  )
}

/** The socket of a connection; with TLS, that within TLS. */
export function streamOf(client: pg.ClientBase): Socket {
  return (client as unknown as { connection: { stream: Socket } }).connection.stream
}

/**
 * Waits for statements that cost the server nothing, and gives up a connection that is silent for seconds: the system itself
 * notices only after minutes that a request does not arrive. What came while this process stood still is read first.
 */
export async function promptly<T>(client: pg.ClientBase, action: () => Promise<T>): Promise<T> {
  let isOver = false
  const giveUp = (): void => {
    if (!isOver) destroy(client)
  }
  const timer = setTimeout(() => setImmediate(giveUp), serverLimits.silentMs)
  try {
    return await action()
  } finally {
    isOver = true
    clearTimeout(timer)
  }
}

/** Ends a connection without a goodbye: a server that has vanished would never respond to it. */
export function destroy(client: pg.ClientBase): void {
  streamOf(client).destroy()
}
