import { randomUUID } from 'node:crypto'
import type { MakeRoom } from '../base/make-room.ts'
import { fitting } from './column-limits.ts'
import type { Db } from './database.ts'

/**
 * Values of many megabytes, such as FABs and the contexts of apps. SQLite writes and reads a value in one go, so a large one
 * is kept in parts: other work goes on between them. The row that a value belongs to holds the value, or the name of its
 * parts. No other file writes the `part` table.
 */
export interface KeptValue {
  /** Empty if the value is kept in parts. */
  readonly content: Uint8Array
  readonly parts: string | null
}

const partBytes = 512 * 1024

/** Keeps a value, and returns what its row holds. A row that is replaced lets go of its former parts with `forgetParts`. */
export async function keepValue(tx: Db, value: Uint8Array): Promise<KeptValue> {
  if (value.length <= partBytes) return { content: value, parts: null }
  const parts = `${value.length} ${randomUUID()}`
  for (let position = 0; position * partBytes < value.length; position++) {
    const content = value.subarray(position * partBytes, (position + 1) * partBytes)
    await tx
      .insertInto('part')
      .values(fitting('part', { name: parts, position, content }))
      .execute()
  }
  return { content: new Uint8Array(), parts }
}

/**
 * Returns the value of the row that `find` returns; `undefined` if there is none.
 *
 * @param makeRoom called with the size of a large value before it is read, which waits for it.
 */
export async function findValue(
  db: Db,
  find: () => Promise<KeptValue | undefined>,
  makeRoom?: MakeRoom,
): Promise<Uint8Array | undefined> {
  for (let row = await find(); row; row = await find()) {
    if (row.parts === null) return row.content
    await makeRoom?.(Number.parseInt(row.parts, 10))
    const value = await readParts(db, row.parts)
    // Otherwise the row was replaced meanwhile.
    if (value) return value
  }
  return undefined
}

async function readParts(db: Db, parts: string): Promise<Uint8Array | undefined> {
  const value = Buffer.allocUnsafeSlow(Number.parseInt(parts, 10))
  for (let position = 0; position * partBytes < value.length; position++) {
    const row = await db
      .selectFrom('part')
      .select('content')
      .where('name', '=', parts)
      .where('position', '=', position)
      .executeTakeFirst()
    if (!row) return undefined
    value.set(row.content, position * partBytes)
  }
  return value
}

export async function forgetParts(tx: Db, parts: string | null | undefined): Promise<void> {
  if (parts) await tx.deleteFrom('part').where('name', '=', parts).execute()
}
