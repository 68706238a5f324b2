import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDatabase } from './database.ts'
import { findValue, forgetParts, type KeptValue, keepValue } from './large-values.ts'

test('a value of any size comes back as it was, and leaves nothing', async () => {
  await using db = openDatabase({ path: ':memory:' })
  for (const size of [0, 1, 512 * 1024, 512 * 1024 + 1, 3_000_000]) {
    const value = Buffer.alloc(size, 'some bytes')
    const kept = await db.transaction((tx) => keepValue(tx, value))
    assert.equal(kept.parts === null, size <= 512 * 1024)
    const found = await findValue(db.read, async () => kept)
    assert.deepEqual(Buffer.from(found ?? []), value)
    await db.transaction((tx) => forgetParts(tx, kept.parts))
  }
  assert.deepEqual(await db.read.selectFrom('part').select('name').execute(), [])
})

test('a value that is replaced while it is read is read again', async () => {
  await using db = openDatabase({ path: ':memory:' })
  const keep = (byte: number): Promise<KeptValue> =>
    db.transaction((tx) => keepValue(tx, new Uint8Array(1_000_000).fill(byte)))
  const [former, latter] = [await keep(1), await keep(2)]
  await db.transaction((tx) => forgetParts(tx, former.parts))
  const rows = [former, latter]
  const found = await findValue(db.read, async () => rows.shift())
  assert.equal(found?.[999_999], 2)
})
