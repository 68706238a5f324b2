import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDatabase } from './database.ts'

test('a long transaction and a long chain of reads let other work go on in between', async () => {
  await using db = openDatabase({ path: ':memory:' })
  let turns = 0
  const turn = (): void => {
    turns += 1
    immediate = setImmediate(turn)
  }
  let immediate = setImmediate(turn)
  const busy = (): void => {
    const endsAt = performance.now() + 6
    while (performance.now() < endsAt);
  }
  const query = { fab_hash: 'x', content: new Uint8Array() }
  await db.transaction(async (tx) => {
    const before = turns
    for (let index = 0; index < 10; index++) {
      busy()
      await tx
        .insertInto('fab')
        .values({ ...query, fab_hash: `${index}` })
        .execute()
    }
    assert.ok(turns - before >= 3, `${turns - before} turns`)
  })
  const before = turns
  for (let index = 0; index < 10; index++) {
    busy()
    await db.read.selectFrom('fab').select('fab_hash').execute()
  }
  assert.ok(turns - before >= 3, `${turns - before} turns`)
  clearImmediate(immediate)
})
