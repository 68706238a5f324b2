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

/** The session that has the lock: from where and since when, in words. */
export interface LockHolder {
  readonly pid: number
  readonly text: string
}

/** Returns the session that has the lock; `undefined` if it was given back. */
export async function findHolder(client: pg.ClientBase): Promise<LockHolder | undefined> {
  const { rows } = await client.query(
    `SELECT pid, host(activity.client_addr) AS address, to_char(activity.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
    FROM pg_locks LEFT JOIN pg_stat_activity AS activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = ${Math.floor(superlinkLock / 2 ** 32)}
      AND objid = ${superlinkLock % 2 ** 32} AND objsubid = 1
      AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  const [row] = rows as { pid: number; address: string | null; since: string | null }[]
  if (!row) return undefined
  const since = row.since === null ? '' : `, connected since ${row.since}`
  return { pid: row.pid, text: `${row.address ?? 'this machine'}${since}` }
}

/** Ends the connection of this process that still holds the lock because the server has not noticed that it is lost. */
export async function endSession(client: pg.ClientBase, pid: number): Promise<void> {
  await client.query('SELECT pg_terminate_backend($1)', [pid])
}
