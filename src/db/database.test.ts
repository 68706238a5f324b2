import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { assertKeeps, databasePromises } from '../../test/harness/database-contract.ts'
import { openDatabase } from './database.ts'

const directory = mkdtempSync(join(tmpdir(), 'trellis-db-'))
after(() => rmSync(directory, { recursive: true, force: true }))
const series = (id: bigint) => ({ series_id: id, federation: 'f', context: new Uint8Array([1]) })

test('the files of a database are for their owner alone, also those that were not', async () => {
  const path = join(directory, 'private.db')
  const modes = (): string[] =>
    readdirSync(directory)
      .filter((name) => name.startsWith('private.db'))
      .map((name) => `${name} ${(statSync(join(directory, name)).mode & 0o777).toString(8)}`)
  const files = ['private.db', 'private.db-shm', 'private.db-wal', 'private.db.lock', 'private.db.lock-journal']
  for (let start = 1; start <= 2; start++) {
    await using database = openDatabase({ path })
    await database.transaction(
      async (tx) =>
        void (await tx
          .insertInto('series')
          .values(series(BigInt(start)))
          .execute()),
    )
    assert.deepEqual(
      modes().toSorted(),
      files.map((name) => `${name} 600`),
    )
    // As an earlier release left it.
    for (const name of files) chmodSync(join(directory, name), 0o644)
  }
})

test('a database gives its memory back between and during transactions, and reads what it has stored', async () => {
  await using database = openDatabase({ path: join(directory, 'shrunk.db') })
  const insert = (id: bigint) =>
    database.transaction(async (tx) => {
      await tx.insertInto('series').values(series(id)).execute()
      database.shrink?.()
    })
  const stored = async () => (await database.read.selectFrom('series').select('series_id').execute()).length
  await insert(1n)
  assert.equal(await stored(), 1)
  database.shrink?.()
  assert.equal(await stored(), 1)
  await insert(2n)
  assert.equal(await stored(), 2)
})

for (const [where, path] of [
  ['in memory', ':memory:'],
  ['in a file', join(directory, 'contract.db')],
] as const) {
  for (const promise of databasePromises) {
    test(`SQLite ${where}: ${promise}`, async () => {
      await using database = openDatabase({ path })
      await assertKeeps(database, promise)
    })
  }
}

test('a database in use, of a newer release, of Flower, damaged or in no folder is refused with the remedy', async () => {
  const path = join(directory, 'used.db')
  {
    await using _first = openDatabase({ path })
    assert.throws(() => openDatabase({ path }), /in use by another SuperLink/)
  }
  const raw = new DatabaseSync(path)
  raw.exec('PRAGMA user_version = 99')
  raw.close()
  assert.throws(() => openDatabase({ path }), /newer release \(version 99/)

  const flower = join(directory, 'flower.db')
  const theirs = new DatabaseSync(flower)
  theirs.exec('CREATE TABLE alembic_version (version_num TEXT)')
  theirs.close()
  assert.throws(() => openDatabase({ path: flower }), /belongs to Flower/)

  const broken = join(directory, 'broken.db')
  writeFileSync(broken, 'this is not a database, but long enough to look like a header of one'.repeat(20))
  assert.throws(() => openDatabase({ path: broken }), /damaged or not a database/)
  assert.throws(() => openDatabase({ path: join(directory, 'nowhere/x.db') }), /check that its folder exists/)
})

test('a read-only database is refused with the remedy', () => {
  const folder = join(directory, 'readonly')
  const path = join(folder, 'x.db')
  mkdirSync(folder)
  writeFileSync(path, '')
  chmodSync(path, 0o400)
  // Root may write anything: be another user for a moment.
  const isRoot = process.getuid?.() === 0
  if (isRoot) {
    chmodSync(directory, 0o755)
    for (const owned of [folder, path]) chownSync(owned, unprivileged, unprivileged)
    process.seteuid?.(unprivileged)
  }
  try {
    assert.throws(() => openDatabase({ path }), /read-only/)
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
})

const unprivileged = 65534

test('a transaction that begins as soon as another has ended is not left waiting', async () => {
  await using database = openDatabase({ path: join(directory, 'chain.db') })
  for (let round = 0; round < 20; round++) {
    await database.transaction(async () => {})
    for (let turn = 0; turn < round; turn++) await Promise.resolve()
  }
  const chained = (async () => {
    await database.transaction(async () => {})
    return database.transaction(async () => 'done')
  })()
  assert.equal(await chained, 'done')
})

test('a full disk refuses what cannot be kept, loses nothing, and works again when there is room', async (t) => {
  const small = join(directory, 'small')
  mkdirSync(small)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]).status === 0
  if (!mounted) return t.skip('only root may mount a file system that fills up')
  let reports = 0
  try {
    await using database = openDatabase({ path: join(small, 'full.db'), onFull: () => reports++ })
    const insert = (id: bigint, size: number): Promise<unknown> =>
      database.transaction((tx) =>
        tx
          .insertInto('series')
          .values({ ...series(id), context: new Uint8Array(size) })
          .execute(),
      )
    await insert(1n, 10)
    await assert.rejects(insert(2n, 2_000_000), { code: 'storage-full' })
    await insert(3n, 10)
    const rows = await database.read.selectFrom('series').select('series_id').orderBy('series_id').execute()
    assert.deepEqual(
      rows.map((row) => row.series_id),
      [1n, 3n],
    )
    assert.equal(reports, 1)
  } finally {
    spawnSync('umount', [small])
  }
})

test('a transaction that comes after the end is refused, and those before it are finished', async () => {
  const db = openDatabase({ path: ':memory:' })
  const early = db.transaction(async (tx) => tx.selectFrom('task').selectAll().execute())
  const closing = db.close()
  const late = db.transaction(async () => 1)
  await assert.rejects(late, /closed/)
  assert.deepEqual(await early, [])
  await closing
  await assert.rejects(
    db.transaction(async () => 1),
    /closed/,
  )
})
