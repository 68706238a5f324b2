import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { openTestDatabase } from '../../test/harness/test-database.ts'
import type { Database } from './database.ts'
import {
  digestValue,
  findValue,
  forgetParts,
  forgetPendingValues,
  type KeptValue,
  keepValue,
  prepareCopy,
  prepareValue,
  readPiece,
  removeForgottenParts,
} from './large-values.ts'

async function keep(db: Database, value: Uint8Array): Promise<KeptValue> {
  await using prepared = await prepareValue(db, value)
  return await db.transaction((tx) => keepValue(tx, prepared))
}

test('a value of any size comes back as it was, and leaves nothing', async () => {
  await using db = await openTestDatabase()
  for (const size of [0, 1, 512 * 1024, 512 * 1024 + 1, 3_000_000]) {
    const value = Buffer.alloc(size, 'some bytes')
    const kept = await keep(db, value)
    assert.equal(kept.parts === null, size <= 512 * 1024)
    const found = await findValue(db.read, async () => kept)
    assert.deepEqual(Buffer.from(found ?? []), value)
    await db.transaction((tx) => forgetParts(tx, kept.parts))
  }
  await removeForgottenParts(db)
  assert.deepEqual(await db.read.selectFrom('part').select('name').execute(), [])
})

test('a value that is replaced while it is read is read again', async () => {
  await using db = await openTestDatabase()
  const filled = (byte: number): Uint8Array => new Uint8Array(1_000_000).fill(byte)
  const [former, latter] = [await keep(db, filled(1)), await keep(db, filled(2))]
  await db.transaction((tx) => forgetParts(tx, former.parts))
  const rows = [former, latter]
  const found = await findValue(db.read, async () => rows.shift())
  assert.equal(found?.[999_999], 2)
})

test('a value without one of its parts is an error that says so', async () => {
  await using db = await openTestDatabase()
  const kept = await keep(db, new Uint8Array(3_000_000))
  await db.transaction((tx) => tx.deleteFrom('part').where('position', '=', 2).execute())
  let looks = 0
  const find = async (): Promise<KeptValue | undefined> => (looks++ < 10 ? kept : undefined)
  await assert.rejects(findValue(db.read, find), /part of a stored value is missing: the database is damaged/)
})

test('the parts of a value that no row names are forgotten: at once, and after a crash at the next start', async () => {
  await using db = await openTestDatabase()
  const kept = await keep(db, new Uint8Array(1_000_000))
  const countParts = async () => {
    await removeForgottenParts(db)
    return (await db.read.selectFrom('part').select('name').execute()).length
  }
  {
    await using unused = await prepareValue(db, new Uint8Array(5_000_000))
    await assert.rejects(
      db.transaction(async (tx) => {
        await keepValue(tx, unused)
        throw new Error('rolled back')
      }),
    )
    assert.equal(await countParts(), 13)
  }
  assert.equal(await countParts(), 2)
  // The crash: nothing is disposed.
  void (await prepareValue(db, new Uint8Array(5_000_000)))
  await forgetPendingValues(db)
  assert.equal(await countParts(), 2)
  assert.equal((await findValue(db.read, async () => kept))?.length, 1_000_000)
})

test('a value in parts is read, copied and hashed piece by piece, and one that lacks a part is reported as damaged', async () => {
  await using db = await openTestDatabase()
  const value = Buffer.alloc(3_000_000, 'some bytes')
  const kept = await keep(db, value)
  const parts = kept.parts ?? assert.fail('not in parts')
  const piece = await readPiece(db.read, { parts, from: 2 * 512 * 1024, to: 2_000_000 })
  assert.deepEqual(Buffer.from(piece ?? []), value.subarray(2 * 512 * 1024, 2_000_000))
  await using prepared = await prepareCopy(db, kept)
  const copy = await db.transaction((tx) => keepValue(tx, prepared))
  assert.notEqual(copy.parts, parts)
  for (const one of [kept, copy])
    assert.equal(await digestValue(db.read, async () => one), hash('sha256', value, 'hex'))
  await db.transaction((tx) => tx.deleteFrom('part').where('name', '=', parts).where('position', '=', 3).execute())
  for (const read of [findValue, digestValue])
    await assert.rejects(
      read(db.read, async () => kept),
      /A part of a stored value is missing/,
    )
  assert.deepEqual(Buffer.from((await findValue(db.read, async () => copy)) ?? []), value)
})

test('the parts of large values are removed a few in each commit, and after a crash the next start goes on', async () => {
  await using db = await openTestDatabase()
  const kept = await keep(db, new Uint8Array(1_000_000))
  const old = [await keep(db, new Uint8Array(5_000_000)), await keep(db, new Uint8Array(3_000_000))]
  const countParts = async () => (await db.read.selectFrom('part').select('name').execute()).length
  assert.equal(await countParts(), 2 + 10 + 6)
  await db.transaction(async (tx) => {
    for (const { parts } of old) await forgetParts(tx, parts)
  })
  const crash = new AbortController()
  const counts: number[] = []
  const noting = (crashAfter: number): Database => ({
    ...db,
    read: db.read,
    transaction: async (body) => {
      const result = await db.transaction(body)
      counts.push(await countParts())
      if (counts.length === crashAfter) crash.abort()
      return result
    },
  })
  await removeForgottenParts(noting(2), crash.signal)
  assert.deepEqual(counts, [16, 12])
  await removeForgottenParts(noting(9))
  assert.deepEqual(counts, [16, 12, 9, 5, 2])
  assert.equal((await findValue(db.read, async () => kept))?.length, 1_000_000)
})
