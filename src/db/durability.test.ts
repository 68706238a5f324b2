import assert from 'node:assert/strict'
import { copyFileSync, fdatasync, readFileSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { randomFrom } from '../../test/harness/random.ts'
import { type Db, openDatabase } from './database.ts'

const series = (id: number) => ({ series_id: BigInt(id), federation: 'f', context: new Uint8Array(100) })
const insert = (tx: Db, id: number): Promise<unknown> => tx.insertInto('series').values(series(id)).execute()
const syncFile = promisify(fdatasync)

function idsIn(path: string): number[] {
  using connection = new DatabaseSync(path, { readOnly: true })
  return connection
    .prepare('SELECT series_id FROM series ORDER BY 1')
    .all()
    .map((row) => Number(row.series_id))
}

test('what was acknowledged is there after a power cut that takes all that was not synced', async () => {
  await using directory = temporaryDirectory()
  const path = directory.file('state.db')
  const random = randomFrom(13)
  const acknowledged = new Set<number>()
  let synced = Buffer.alloc(0)
  let cuts = 0
  const cutPower = (): void => {
    const copy = directory.file(`after-${cuts++}.db`)
    copyFileSync(path, copy)
    writeFileSync(`${copy}-wal`, synced)
    const found = new Set(idsIn(copy))
    for (const id of acknowledged) assert.ok(found.has(id), `${id} was acknowledged, and is lost in cut ${cuts}`)
  }
  await using database = openDatabase({
    path,
    overrides: {
      pagesPerCopy: Number.POSITIVE_INFINITY,
      async syncFile(file) {
        // What is written while the disk works is not stored for sure.
        const written = readFileSync(`${path}-wal`)
        await syncFile(file)
        synced = written
      },
    },
  })
  let effects = 0
  const callers = Array.from({ length: 200 }, async (_, id) => {
    for (let turns = random(50); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    await database.transaction(async (tx, afterCommit) => {
      await insert(tx, id)
      afterCommit(() => {
        effects += 1
        acknowledged.add(id)
        if (id % 20 === 0) cutPower()
      })
    })
    if (id % 20 === 1) cutPower()
  })
  await Promise.all(callers)
  assert.equal(effects, 200)
  assert.equal(cuts, 20)
})

test('readers see a commit once it is on disk, not before', async () => {
  await using directory = temporaryDirectory()
  const disk = Promise.withResolvers<void>()
  const syncs: PromiseWithResolvers<void>[] = []
  await using database = openDatabase({
    path: directory.file('state.db'),
    overrides: {
      syncFile() {
        const sync = Promise.withResolvers<void>()
        syncs.push(sync)
        disk.resolve()
        return sync.promise
      },
    },
  })
  const count = async () => (await database.read.selectFrom('series').select('series_id').execute()).length
  const events: string[] = []
  const first = database.transaction(async (tx, afterCommit) => {
    await insert(tx, 1)
    afterCommit(() => events.push('effect'))
  })
  await disk.promise
  assert.equal(await count(), 0)
  // The next transactions run meanwhile, and see what the first has written.
  const others = [2, 3, 4].map((id) =>
    database.transaction(async (tx) => {
      events.push(`${(await tx.selectFrom('series').select('series_id').execute()).length} rows`)
      await insert(tx, id)
    }),
  )
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([await count(), syncs.length, events], [0, 1, ['1 rows', '2 rows', '3 rows']])
  syncs[0]?.resolve()
  await first
  assert.deepEqual([await count(), events.at(-1)], [1, 'effect'])
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(await count(), 1)
  syncs[1]?.resolve()
  await Promise.all(others)
  assert.deepEqual([await count(), syncs.length], [4, 2])
})

for (const when of ['later', 'at once'])
  test(`after the disk has failed ${when} to store a commit, nothing more is acknowledged, and readers stay at what is stored`, async () => {
    await using directory = temporaryDirectory()
    let isBroken = false
    const effects: number[] = []
    const reasons: string[] = []
    const syncNow = (): Promise<void> => {
      if (isBroken) throw new Error('EIO: i/o error, fdatasync')
      return Promise.resolve()
    }
    await using database = openDatabase({
      path: directory.file('state.db'),
      onFailed: (reason) => reasons.push(reason),
      overrides: {
        syncFile: when === 'at once' ? syncNow : async () => syncNow(),
      },
    })
    const write = (id: number): Promise<void> =>
      database.transaction(async (tx, afterCommit) => {
        await insert(tx, id)
        afterCommit(() => effects.push(id))
      })
    await write(1)
    isBroken = true
    const lost = write(2)
    await assert.rejects(lost, { code: 'unavailable', message: /disk could not store the database \(EIO/ })
    isBroken = false
    await assert.rejects(write(3), /check the disk, then restart/)
    assert.deepEqual([effects, reasons.length], [[1], 1])
    assert.equal((await database.read.selectFrom('series').select('series_id').execute()).length, 1)
  })

test('a long log is copied and started anew by another thread, while transactions go on and nothing is lost', async () => {
  await using directory = temporaryDirectory()
  const path = directory.file('state.db')
  const pages: number[] = []
  let restarts = 0
  {
    await using database = openDatabase({ path, overrides: { pagesPerCopy: 50 } })
    using other = new DatabaseSync(path, { readOnly: true })
    const log = other.prepare('PRAGMA wal_checkpoint(NOOP)')
    // On a busy machine the other thread takes its turn later, after any number of transactions.
    for (let id = 0; id < 400 || restarts < 2; id++) {
      await database.transaction((tx) => insert(tx, id))
      const count = Number(log.get()?.log)
      if (count < (pages.at(-1) ?? 0)) restarts += 1
      pages.push(count)
    }
  }
  assert.ok(restarts >= 2, `started anew ${restarts} times`)
  assert.deepEqual(idsIn(path), [...pages.keys()])
})

test('an effect that throws is reported, and neither callers nor other effects notice', async () => {
  const failures: unknown[] = []
  await using database = openDatabase({ path: ':memory:', onEffectFailed: (error) => failures.push(error) })
  const effects: number[] = []
  const results = await Promise.allSettled([
    database.transaction(async (_tx, afterCommit) => {
      afterCommit(() => {
        throw new Error('a faulty effect')
      })
      afterCommit(() => effects.push(1))
      return 1
    }),
    database.transaction(async (_tx, afterCommit) => {
      afterCommit(() => effects.push(2))
      return 2
    }),
  ])
  assert.deepEqual(
    results.map((result) => result.status === 'fulfilled' && result.value),
    [1, 2],
  )
  assert.deepEqual([effects, failures.length], [[1, 2], 1])
  assert.equal(await database.transaction(async () => 3), 3)
})
