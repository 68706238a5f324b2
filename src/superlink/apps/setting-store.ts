import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'

/** Queries of the `setting` table, which no other file writes. */

export async function find(db: Db, name: string): Promise<string | undefined> {
  const row = await db.selectFrom('setting').select('value').where('name', '=', name).executeTakeFirst()
  return row?.value
}

export async function put(tx: Db, name: string, value: string): Promise<void> {
  await tx
    .insertInto('setting')
    .values(fitting('setting', { name, value }))
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
    .execute()
}
