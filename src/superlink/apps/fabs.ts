import { DomainError } from '../../base/errors.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Database, Db } from '../../db/database.ts'
import { findValue, keepValue, type PreparedValue, prepareValue } from '../../db/large-values.ts'

/** Stores a large FAB, for `keepFab`; returns `undefined` if it is kept already. */
export async function prepareFab(db: Database, fabHash: string, fab: Uint8Array): Promise<PreparedValue | undefined> {
  const known = await db.read.selectFrom('fab').select('fab_hash').where('fab_hash', '=', fabHash).executeTakeFirst()
  return known ? undefined : prepareValue(db, fab)
}

/** Keeps a FAB under its hash; the same FAB is kept once. */
export async function keepFab(tx: Db, fabHash: string, fab: PreparedValue | undefined): Promise<void> {
  if (!fab) return
  const known = await tx.selectFrom('fab').select('fab_hash').where('fab_hash', '=', fabHash).executeTakeFirst()
  if (known) return
  await tx
    .insertInto('fab')
    .values(fitting('fab', { fab_hash: fabHash, ...(await keepValue(tx, fab)) }))
    .execute()
}

export function findFab(db: Db, fabHash: string, makeRoom?: MakeRoom): Promise<Uint8Array | undefined> {
  const query = db.selectFrom('fab').select(['content', 'parts']).where('fab_hash', '=', fabHash)
  return findValue(db, () => query.executeTakeFirst(), makeRoom)
}

/** How many bytes a FAB has. */
export async function findFabBytes(db: Db, fabHash: string): Promise<number> {
  const row = await db
    .selectFrom('fab')
    .select([({ fn }) => fn<number>('length', ['content']).as('bytes'), 'parts'])
    .where('fab_hash', '=', fabHash)
    .executeTakeFirst()
  return Number.parseInt(row?.parts ?? String(row?.bytes ?? 0), 10)
}

export async function getFab(db: Db, fabHash: string, makeRoom?: MakeRoom): Promise<Uint8Array> {
  const content = await findFab(db, fabHash, makeRoom)
  if (!content) throw new DomainError('fab-not-visible', `Found no FAB with hash: ${fabHash}`)
  return content
}
