import { DomainError } from '../../base/errors.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Database, Db } from '../../db/database.ts'
import { findValue, forgetParts, keepValue, type PreparedValue, prepareValue } from '../../db/large-values.ts'

/** Stores a large FAB, for `keepFab`; returns `undefined` if it is kept already. */
export async function prepareFab(db: Database, fabHash: string, fab: Uint8Array): Promise<PreparedValue | undefined> {
  const known = await db.read.selectFrom('fab').select('fab_hash').where('fab_hash', '=', fabHash).executeTakeFirst()
  return known ? undefined : prepareValue(db, fab)
}

/**
 * Keeps a FAB under its hash; the same FAB is kept once. Returns false if there is none: it was known when it should have been
 * prepared, and was removed since.
 */
export async function keepFab(tx: Db, fabHash: string, fab: PreparedValue | undefined): Promise<boolean> {
  const known = await tx.selectFrom('fab').select('fab_hash').where('fab_hash', '=', fabHash).executeTakeFirst()
  if (known || !fab) return known !== undefined
  await tx
    .insertInto('fab')
    .values(fitting('fab', { fab_hash: fabHash, ...(await keepValue(tx, fab)) }))
    .execute()
  return true
}

/** Removes a FAB that no run has any more. */
export async function removeFab(tx: Db, fabHash: string): Promise<void> {
  const fab = await tx.selectFrom('fab').select('parts').where('fab_hash', '=', fabHash).executeTakeFirst()
  await forgetParts(tx, fab?.parts)
  await tx.deleteFrom('fab').where('fab_hash', '=', fabHash).execute()
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
