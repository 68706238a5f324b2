import type pg from 'pg'
import { serverLimits } from './server-limits.ts'

/** Any number that no other program is likely to use. */
const superlinkLock = 7_226_815_002

/**
 * The lock of the one SuperLink that writes a database. It belongs to the connection that writes: a SuperLink that has lost
 * the connection has lost the lock, and can write nothing any more.
 */
export async function tryLock(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query(`SELECT pg_try_advisory_lock(${superlinkLock}) AS got`)
  return (rows[0] as { got: number }).got === 1
}

/**
 * Waits for a while until the other SuperLink has given the lock back, and takes it in the same moment. Returns whether it
 * did. A wait without an end would keep a snapshot, so that PostgreSQL could not clean up, and would not notice that the
 * server is gone.
 */
export async function waitForLock(client: pg.ClientBase): Promise<boolean> {
  await client.query(`SET lock_timeout = ${serverLimits.lockWaitMs}`)
  try {
    await client.query(`SELECT pg_advisory_lock(${superlinkLock})`)
    return true
  } catch (error) {
    if ((error as { code?: unknown }).code !== lockNotAvailable) throw error
    return false
  } finally {
    await client.query(`SET lock_timeout = ${serverLimits.statementMs}`).catch(() => {})
  }
}

const lockNotAvailable = '55P03'

/** A session is its process and when that started: another session may get the same process id later. */
const session = `pid || ' ' || extract(epoch FROM backend_start)`

/** Returns the session of this connection. */
export async function findOwnSession(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query(`SELECT ${session} AS session FROM pg_stat_activity WHERE pid = pg_backend_pid()`)
  return (rows[0] as { session: string }).session
}

/** The session that has the lock: from where and since when, in words. */
export interface LockHolder {
  /** `undefined` if it has just ended, or belongs to a role whose sessions this one may not see. */
  readonly session: string | undefined
  readonly text: string
}

/** Returns the session that has the lock; `undefined` if it was given back. */
export async function findHolder(client: pg.ClientBase): Promise<LockHolder | undefined> {
  const { rows } = await client.query(
    `SELECT ${session} AS session, host(activity.client_addr) AS address,
      to_char(activity.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
    FROM pg_locks LEFT JOIN pg_stat_activity AS activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = ${Math.floor(superlinkLock / 2 ** 32)}
      AND objid = ${superlinkLock % 2 ** 32} AND objsubid = 1
      AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  const [row] = rows as { session: string | null; address: string | null; since: string | null }[]
  if (!row) return undefined
  const since = row.since === null ? '' : `, connected since ${row.since}`
  return { session: row.session ?? undefined, text: `${row.address ?? 'this machine'}${since}` }
}

/** Ends a session of this process that still holds the lock because the server has not noticed that it is lost. */
export async function endSession(client: pg.ClientBase, name: string): Promise<void> {
  await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${session} = $1`, [name])
}
