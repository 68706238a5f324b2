import type pg from 'pg'

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

/** Ends the connection of this process that still holds the lock because the server has not noticed that it is lost. */
export async function endFormer(client: pg.ClientBase, formerPid: number): Promise<void> {
  await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objid = ${superlinkLock % 2 ** 32} AND pid = $1`,
    [formerPid],
  )
}
