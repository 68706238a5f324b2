import assert from 'node:assert/strict'
import type { Database, Db } from '../../src/db/database.ts'

/** What every engine promises. All checks may use one database: each has ids of its own. */

const series = (id: bigint) => ({ series_id: id, federation: 'f', context: new Uint8Array([1]), parts: null })
const insert = (db: Db, id: bigint) => db.insertInto('series').values(series(id)).execute()

/** The ids from `first` on that are stored, of a thousand. */
async function idsFrom(db: Db, first: bigint): Promise<bigint[]> {
  const rows = await db
    .selectFrom('series')
    .select('series_id')
    .where('series_id', '>=', first)
    .where('series_id', '<', first + 1000n)
    .orderBy('series_id')
    .execute()
  return rows.map((row) => row.series_id)
}

const contract: Readonly<Record<string, (database: Database) => Promise<void>>> = {
  async 'ids beyond 2^63, and all bytes, come back as they were'(database) {
    const id = 2n ** 64n - 1n
    const context = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    await database.transaction((tx) =>
      tx
        .insertInto('series')
        .values({ ...series(id), context })
        .execute(),
    )
    const found = database.read.selectFrom('series').selectAll().where('series_id', '=', id)
    assert.deepEqual({ ...(await found.executeTakeFirstOrThrow()) }, { ...series(id), context })
  },

  async 'a failed transaction leaves nothing and does not disturb those that share its commit'(database) {
    const effects: bigint[] = []
    const attempt = (id: bigint, fails: boolean) =>
      database.transaction(async (tx, afterCommit) => {
        await insert(tx, id)
        afterCommit(() => effects.push(id))
        if (fails) throw new Error('no')
      })
    const attempts = [attempt(1001n, false), attempt(1002n, true), attempt(1003n, false)]
    const results = await Promise.allSettled(attempts)
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.deepEqual(effects, [1001n, 1003n])
    assert.deepEqual(await idsFrom(database.read, 1000n), [1001n, 1003n])
  },

  async 'readers never see rows that are rolled back, and a transaction sees its own'(database) {
    const own: number[] = []
    const failing = database.transaction(async (tx) => {
      for (let id = 2001n; id <= 2020n; id++) {
        await insert(tx, id)
        own.push((await idsFrom(tx, 2000n)).length)
      }
      throw new Error('no')
    })
    // Each begins a little later: they fall between any two statements of the transaction.
    const others = Array.from({ length: 50 }, async (_, turns) => {
      for (let turn = 0; turn < turns * 4; turn++) await Promise.resolve()
      return (await idsFrom(database.read, 2000n)).length
    })
    await assert.rejects(failing, /no/)
    assert.deepEqual(new Set(await Promise.all(others)), new Set([0]))
    assert.deepEqual(
      own,
      [...Array(20).keys()].map((index) => index + 1),
    )
    await database.transaction((tx) => insert(tx, 2001n))
    assert.deepEqual(await idsFrom(database.read, 2000n), [2001n])
  },

  async 'transactions run in the order in which they were begun'(database) {
    const seen = await Promise.all(
      [3001n, 3002n, 3003n].map((id) =>
        database.transaction(async (tx) => {
          await insert(tx, id)
          return await idsFrom(tx, 3000n)
        }),
      ),
    )
    assert.deepEqual(seen, [[3001n], [3001n, 3002n], [3001n, 3002n, 3003n]])
  },

  async 'a transaction that would wait for itself is a fault that says so'(database) {
    const read = database.transaction(() => database.read.selectFrom('series').selectAll().execute())
    await assert.rejects(read, /A transaction must not start a read of what is committed/)
    const nested = database.transaction(() => database.transaction(async () => {}))
    await assert.rejects(nested, /A transaction must not start another one/)
  },
}

export const databasePromises: readonly string[] = Object.keys(contract)

/** Throws an AssertionError if the database does not keep the promise. */
export async function assertKeeps(database: Database, promise: string): Promise<void> {
  const check = contract[promise]
  assert.ok(check, promise)
  await check(database)
}
