import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { SuperlinkCore } from '../../test/harness/superlink-core.ts'
import { openDatabase } from '../db/database.ts'
import { claimObjectFolder, objectOwner, renewObjectOwner } from './object-place.ts'

test('a folder for objects belongs to one database, and is refused to another one', async () => {
  using home = temporaryDirectory()
  const folder = home.file('objects')
  await using first = openDatabase({ path: ':memory:' })
  await using second = openDatabase({ path: ':memory:' })
  await claimObjectFolder(folder, first, true)
  await claimObjectFolder(folder, first, true)
  const refusal =
    /The folder \S+objects has the objects of another database: name another folder with --storage-dir\. If .* delete \S+trellis\.json; then/
  for (const marks of [true, false])
    await assert.rejects(claimObjectFolder(folder, second, marks), (error: Error) => {
      assert.match(error.message, refusal)
      return error.name === 'Error' || error.name === 'UsageError'
    })
  // A power cut may leave a file without its content.
  writeFileSync(`${folder}/trellis.json`, '')
  await claimObjectFolder(folder, second, true)
  await assert.rejects(claimObjectFolder(folder, first, true), refusal)
})

test('a folder without the objects of the database is refused, as that of a disk that is not mounted', async () => {
  using home = temporaryDirectory()
  await using core = await SuperlinkCore.start({ folder: home.path })
  const { db } = core.ctx
  const { runId } = await core.run()
  await core.push(runId, [core.instruction(runId, await core.join('node'), { bytes: 100_000 })])
  const [other, own] = [home.file('other'), home.file('objects')]
  const refusal =
    /^UsageError: The folder \S+other has no object of this database: mount the disk .* create (\S+) with the content (\{.*\}); then/
  const [, path = '', content = ''] = refusal.exec(String(await claimObjectFolder(other, db, true).catch(String))) ?? []
  assert.equal(existsSync(other), false)
  await claimObjectFolder(own, db, true)
  mkdirSync(other)
  writeFileSync(path, content)
  await claimObjectFolder(other, db, true)
})

test('of two databases that claim a folder at once, one has it', async () => {
  using home = temporaryDirectory()
  await using first = openDatabase({ path: ':memory:' })
  await using second = openDatabase({ path: ':memory:' })
  for (let round = 0; round < 20; round++) {
    const folder = home.file(`objects-${round}`)
    const claims = await Promise.allSettled([first, second].map((db) => claimObjectFolder(folder, db, true)))
    assert.deepEqual(claims.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
    assert.deepEqual(readdirSync(folder), ['trellis.json'])
  }
})

test('a folder beside the database is not marked, so that a new database may follow a deleted one', async () => {
  using home = temporaryDirectory()
  await using db = openDatabase({ path: ':memory:' })
  await claimObjectFolder(home.path, db, false)
  assert.equal(existsSync(home.file('trellis.json')), false)
})

test('a database whose copy has its objects gets a new id', async () => {
  await using db = openDatabase({ path: ':memory:' })
  const before = await objectOwner(db)
  assert.equal(await objectOwner(db), before)
  await renewObjectOwner(db)
  assert.notEqual(await objectOwner(db), before)
})
