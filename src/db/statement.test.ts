import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '../base/limits.ts'
import { fitting } from './column-limits.ts'
import { openDatabase } from './database.ts'
import { idsOf, inBatches } from './id-list.ts'
import { statement } from './statement.ts'

const insertObject = statement<{ id: string; content: Uint8Array }, never>(
  (db, value) =>
    db
      .insertInto('object')
      .values(
        fitting('object', { object_id: value('id'), available: 1, size: 0, type: null, content: value('content') }),
      ) as never,
)

test('a statement is built once for each connection, and each execution has its own values', async () => {
  let built = 0
  const find = statement<{ id: string }, { object_id: string }>((db, value) => {
    built += 1
    return db.selectFrom('object').select('object_id').where('object_id', '=', value('id')).where('available', '=', 1)
  })
  for (let round = 1; round <= 2; round++) {
    await using db = openDatabase({ path: ':memory:' })
    await db.transaction(async (tx) => {
      for (const id of ['a', 'b']) await insertObject(tx, { id, content: new Uint8Array() })
    })
    for (const id of ['a', 'b', 'c', 'a'])
      assert.deepEqual(
        (await find(db.read, { id })).rows.map((row) => row.object_id),
        id === 'c' ? [] : [id],
      )
    assert.equal(built, round)
  }
})

test('the limits of columns hold for the values of a compiled statement', async () => {
  await using db = openDatabase({ path: ':memory:' })
  const content = new Uint8Array(limits.carriedBytesMax + 1)
  await db.transaction(async (tx) => {
    await insertObject(tx, { id: 'a', content: content.subarray(1) })
    assert.throws(() => insertObject(tx, { id: 'b', content }), /object\.content/)
  })
})

test('lists of any length share one statement', async () => {
  await using db = openDatabase({ path: ':memory:' })
  const ids = Array.from({ length: 1200 }, (_, index) => `id "${index}"`)
  await db.transaction(async (tx) => {
    for (const id of ids) await insertObject(tx, { id, content: new Uint8Array() })
  })
  const list = statement<{ ids: never }, { object_id: string }>((db, value) =>
    db
      .selectFrom('object')
      .select('object_id')
      .where('object_id', 'in', idsOf(value('ids'))),
  )
  const found: string[] = []
  for (const some of inBatches([...ids, 'unknown']))
    found.push(...(await list(db.read, { ids: some as never })).rows.map((row) => row.object_id))
  assert.deepEqual(found.toSorted(), ids.toSorted())
})
