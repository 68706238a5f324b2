import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import { DomainError } from '../base/errors.ts'
import { sha256InTurns } from '../base/hash-in-turns.ts'
import { limits } from '../base/limits.ts'
import type { MakeRoom } from '../base/make-room.ts'
import { takeTurns } from '../base/turns.ts'
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
/** How many bytes are stored, or removed, in one commit. */
const partsPerCommit = 4
const pieceBytes = partsPerCommit * partBytes
/** At this position there is an empty part until a row names the value. */
const pendingPosition = -1
/** Under this name, each part holds the name of a value that no row names any more, and whose parts are still to be removed. */
const forgottenName = 'forgotten'

/** Stores the parts of a value, in commits of their own. */
export async function prepareValue(db: Database, value: Uint8Array): Promise<PreparedValue> {
  if (value.length <= partBytes) return { content: value, parts: null, [Symbol.asyncDispose]: async () => {} }
  return prepareParts(db, value.length, async (from, to) => value.subarray(from, to))
}

/** Stores a copy of a value that is kept already. It is never in memory as a whole. */
export async function prepareCopy(db: Database, { content, parts }: KeptValue): Promise<PreparedValue> {
  if (parts === null) return prepareValue(db, content)
  return prepareParts(db, sizeOfParts(parts), async (from, to) => {
    const copy = await readPiece(db.read, { parts, from, to })
    if (!copy) throw new DomainError('unavailable', 'The value was removed while it was copied: try again.')
    return copy
  })
}

async function prepareParts(
  db: Database,
  size: number,
  read: (from: number, to: number) => Promise<Uint8Array>,
): Promise<PreparedValue> {
  const growing = openValue(db, size)
  try {
    for (let from = 0; from < size; from += pieceBytes) {
      const content = await read(from, Math.min(size, from + pieceBytes))
      await db.transaction((tx) => appendPiece(tx, { parts: growing.parts, from, content }))
    }
    return growing
  } catch (error) {
    await forgetIfPending(db, growing.parts).catch(() => {})
    throw error
  }
}

/** A value of this size whose pieces come one by one. It is pending until a row names it. */
export function openValue(db: Database, size: number): PreparedValue & { readonly parts: string } {
  const parts = `${size} ${randomUUID()}`
  return { content: new Uint8Array(), parts, [Symbol.asyncDispose]: () => forgetIfPending(db, parts) }
}

/** Stores a piece, which begins where the former one ended. All pieces but the last consist of whole parts. */
export async function appendPiece(
  tx: Db,
  { parts, from, content }: { parts: string; from: number; content: Uint8Array },
): Promise<void> {
  assert(from % partBytes === 0)
  if (from === 0) await insertPart(tx, { name: parts, position: pendingPosition, content: new Uint8Array() })
  for (let start = 0; start < content.length; start += partBytes)
    await insertPart(tx, {
      name: parts,
      position: (from + start) / partBytes,
      content: content.subarray(start, start + partBytes),
    })
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
  if (!(await findPart(db.read, name, pendingPosition))) return
  await db.transaction(async (tx) => {
    // Look again inside of the transaction: a row may name the value by now.
    if (await findPart(tx, name, pendingPosition)) await forgetParts(tx, name)
  })
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
  return untilRead(find, async ({ content, parts }) => {
    if (parts === null) return content
    const size = sizeOfParts(parts)
    await makeRoom?.(size)
    return readPiece(db, { parts, from: 0, to: size })
  })
}

/** As `findValue`, but returns the SHA-256 of the value, which is never in memory as a whole. */
export function digestValue(db: Db, find: () => Promise<KeptValue | undefined>): Promise<string | undefined> {
  return untilRead(find, async ({ content, parts }) => {
    if (parts === null) return sha256InTurns(content)
    const sum = createHash('sha256')
    const turn = takeTurns()
    for (let position = 0; position * partBytes < sizeOfParts(parts); position++) {
      const part = await findPart(db, parts, position)
      if (!part) return undefined
      sum.update(part)
      await turn()
    }
    return sum.digest('hex')
  })
}

/** Reads until the row did not change meanwhile. A row that still names the same parts when they are gone is damaged. */
async function untilRead<T>(
  find: () => Promise<KeptValue | undefined>,
  read: (row: KeptValue) => Promise<T | undefined>,
): Promise<T | undefined> {
  let gone: string | null | undefined
  for (let row = await find(); row; row = await find()) {
    if (row.parts !== null && row.parts === gone)
      throw new MissingPartError('A part of a stored value is missing: the database is damaged.')
    const found = await read(row)
    if (found !== undefined) return found
    gone = row.parts
  }
  return undefined
}

export class MissingPartError extends Error {
  override readonly name = 'MissingPartError'
}

/** Returns the bytes of a value in parts, or `undefined` if they are gone. `from` is the start of a part. */
export async function readPiece(
  db: Db,
  { parts, from, to }: { parts: string; from: number; to: number },
): Promise<Uint8Array | undefined> {
  assert(from % partBytes === 0)
  const piece = Buffer.allocUnsafeSlow(to - from)
  for (let start = 0; start < piece.length; start += partBytes) {
    const part = await findPart(db, parts, (from + start) / partBytes)
    if (!part) return undefined
    piece.set(part.subarray(0, piece.length - start), start)
  }
  return piece
}

async function findPart(db: Db, parts: string, position: number): Promise<Uint8Array | undefined> {
  const row = await db
    .selectFrom('part')
    .select('content')
    .where('name', '=', parts)
    .where('position', '=', position)
    .executeTakeFirst()
  return row?.content
}

/** The size of a value is part of the name of its parts. */
export function sizeOfParts(parts: string): number {
  return Number.parseInt(parts, 10)
}

/**
 * Called when no row names the value any more. A value that was stored in one commit is removed at once. The removal of a larger
 * one would let other transactions wait, so its parts are removed later, by `removeForgottenParts`.
 */
export async function forgetParts(tx: Db, parts: string | null | undefined): Promise<void> {
  if (!parts) return
  const isSmall = sizeOfParts(parts) <= pieceBytes
  const end = isSmall ? sizeOfParts(parts) / partBytes : pendingPosition + 1
  // One by one, so that other work goes on in between.
  for (let position = pendingPosition; position < end; position++) await deletePart(tx, parts, position)
  if (isSmall) return
  const last = await tx
    .selectFrom('part')
    .select(({ fn }) => fn.max('position').as('position'))
    .where('name', '=', forgottenName)
    .executeTakeFirst()
  const position = Number(last?.position ?? 0) + 1
  await insertPart(tx, { name: forgottenName, position, content: Buffer.from(parts) })
}

/** Background job: removes the parts of forgotten values, also of those that the last start has left. */
export async function watchForgottenParts(
  { db, clock }: { readonly db: Database; readonly clock: Clock },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await removeForgottenParts(db, signal)
    await clock.sleep(limits.forgottenPartsLookEveryMs, signal).catch(() => {})
  }
}

/** Removes the parts of forgotten values, a few in each transaction, until none is left. */
export async function removeForgottenParts(db: Database, signal?: AbortSignal): Promise<void> {
  const findNext = () =>
    db.read
      .selectFrom('part')
      .select(['position', 'content'])
      .where('name', '=', forgottenName)
      .orderBy('position')
      .limit(sql.lit(1))
      .executeTakeFirst()
  for (let next = await findNext(); next && !signal?.aborted; next = await findNext()) {
    const { position } = next
    const parts = Buffer.from(next.content).toString()
    await db.transaction(async (tx) => {
      const some = tx.selectFrom('part').select('position').where('name', '=', parts).limit(sql.lit(partsPerCommit))
      const found = await some.execute()
      for (const part of found) await deletePart(tx, parts, part.position)
      if (found.length < partsPerCommit) await deletePart(tx, forgottenName, position)
    })
  }
}
