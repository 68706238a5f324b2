import { hash } from 'node:crypto'
import { DomainError } from '../../base/errors.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'

/** Keeps a FAB under its own hash; the same FAB is kept once. Answers the hash. */
export async function keepFab(tx: Db, content: Uint8Array): Promise<string> {
  const fabHash = hash('sha256', content, 'hex')
  await tx
    .insertInto('fab')
    .values(fitting('fab', { fab_hash: fabHash, content }))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  return fabHash
}

export async function findFab(db: Db, fabHash: string): Promise<Uint8Array | undefined> {
  const row = await db.selectFrom('fab').select('content').where('fab_hash', '=', fabHash).executeTakeFirst()
  return row?.content
}

export async function getFab(db: Db, fabHash: string): Promise<Uint8Array> {
  const content = await findFab(db, fabHash)
  if (!content) throw new DomainError('fab-not-visible', `Found no FAB with hash: ${fabHash}`)
  return content
}
