import { randomUUID } from 'node:crypto'
import type { MakeRoom } from '../base/make-room.ts'
import { fitting } from './column-limits.ts'
import type { Database, Db } from './database.ts'
import type { Row } from './schema.ts'

/**
 * Values of many megabytes, such as FABs and the contexts of apps. SQLite writes and reads a value in one go, and its commits
 * read a large transaction again, so a large value is kept in parts, which are committed a few at a time: other work goes on
 * between them. The row that a value belongs to holds the value, or the name of its parts. No other file writes the `part`
 * table.
 */
export interface KeptValue {
  /** Empty if the value is kept in parts. */
  readonly content: Uint8Array
  readonly parts: string | null
}

/** A value whose parts are stored, for a row that a later transaction writes. If none does, disposing forgets the parts. */
export interface PreparedValue extends KeptValue, AsyncDisposable {}

const partBytes = 512 * 1024
const partsPerCommit = 4
/** At this position there is an empty part until a row names the value. */
const pendingPosition = -1

/** Stores the parts of a value, in commits of their own. */
export async function prepareValue(db: Database, value: Uint8Array): Promise<PreparedValue> {
  if (value.length <= partBytes) return { content: value, parts: null, [Symbol.asyncDispose]: async () => {} }
  const name = `${value.length} ${randomUUID()}`
  const prepared = {
    ...{ content: new Uint8Array(), parts: name },
    [Symbol.asyncDispose]: () => forgetIfPending(db, name),
  }
  try {
    await db.transaction((tx) => insertPart(tx, { name, position: pendingPosition, content: new Uint8Array() }))
    for (let first = 0; first * partBytes < value.length; first += partsPerCommit) {
      await db.transaction(async (tx) => {
        for (let position = first; position < first + partsPerCommit && position * partBytes < value.length; position++)
          await insertPart(tx, {
            name,
            position,
            content: value.subarray(position * partBytes, (position + 1) * partBytes),
          })
      })
    }
    return prepared
  } catch (error) {
    await prepared[Symbol.asyncDispose]().catch(() => {})
    throw error
  }
}

/** Returns what the row of the value holds. A row that is replaced lets go of its former parts with `forgetParts`. */
export async function keepValue(tx: Db, { content, parts }: PreparedValue): Promise<KeptValue> {
  if (parts !== null) await deletePart(tx, parts, pendingPosition)
  return { content, parts }
}

/** At the start of a program: forgets values that no row names, because a crash came in between. */
export async function forgetPendingValues(db: Database): Promise<void> {
  const pending = await db.read.selectFrom('part').select('name').where('position', '=', pendingPosition).execute()
  for (const { name } of pending) await forgetIfPending(db, name)
}

async function forgetIfPending(db: Database, name: string): Promise<void> {
  const mark = await db.read
    .selectFrom('part')
    .select('position')
    .where('name', '=', name)
    .where('position', '=', pendingPosition)
    .executeTakeFirst()
  if (mark) await db.transaction((tx) => forgetParts(tx, name))
}

async function insertPart(tx: Db, part: Row<'part'>): Promise<void> {
  await tx.insertInto('part').values(fitting('part', part)).execute()
}

async function deletePart(tx: Db, name: string, position: number): Promise<void> {
  await tx.deleteFrom('part').where('name', '=', name).where('position', '=', position).execute()
}

/**
 * Returns the value of the row that `find` returns; `undefined` if there is none. Throws a MissingPartError if the row names
 * parts that are not stored: the database is damaged.
 *
 * @param makeRoom called with the size of a large value before it is read, which waits for it.
 */
export async function findValue(
  db: Db,
  find: () => Promise<KeptValue | undefined>,
  makeRoom?: MakeRoom,
): Promise<Uint8Array | undefined> {
  let gone: string | undefined
  for (let row = await find(); row; row = await find()) {
    if (row.parts === null) return row.content
    // Otherwise the row was replaced while its parts were read.
    if (row.parts === gone) throw new MissingPartError('A part of a stored value is missing: the database is damaged.')
    await makeRoom?.(Number.parseInt(row.parts, 10))
    const value = await readParts(db, row.parts)
    if (value) return value
    gone = row.parts
  }
  return undefined
}

export class MissingPartError extends Error {
  override readonly name = 'MissingPartError'
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

/** One by one, so that other work goes on in between. */
export async function forgetParts(tx: Db, parts: string | null | undefined): Promise<void> {
  if (!parts) return
  for (let position = pendingPosition; position * partBytes < Number.parseInt(parts, 10); position++)
    await deletePart(tx, parts, position)
}
