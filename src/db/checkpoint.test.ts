import assert from 'node:assert/strict'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { Checkpoints } from './checkpoint.ts'

test('another thread copies the log into the file and starts it anew, while the connection that wrote it stays open', async () => {
  await using directory = temporaryDirectory()
  const path = directory.file('state.db')
  using connection = new DatabaseSync(path)
  connection.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 7')
  connection.exec('CREATE TABLE part (content BLOB)')
  const pages = () => Number(connection.prepare('PRAGMA wal_checkpoint(NOOP)').get()?.log)
  const checkpoints = new Checkpoints(path)
  for (let round = 1; round <= 2; round++) {
    connection.prepare('INSERT INTO part VALUES (?)').run(new Uint8Array(1_000_000))
    assert.ok(pages() > 200, `${pages()} pages`)
    const before = statSync(path).size
    await checkpoints.copy()
    assert.ok(statSync(path).size > before + 900_000, `${statSync(path).size} bytes`)
    await checkpoints.copyAndRestart()
    assert.equal(pages(), 1)
  }
  assert.equal(connection.prepare('PRAGMA user_version').get()?.user_version, 7)
  await checkpoints.close()
})

test('a copy that fails is reported, and the next one is tried anew', async () => {
  await using directory = temporaryDirectory()
  const path = directory.file('state.db')
  writeFileSync(path, 'no database, but as long as the head of one would be'.repeat(10))
  const checkpoints = new Checkpoints(path)
  await assert.rejects(checkpoints.copy(), /not a database/)
  rmSync(path)
  using connection = new DatabaseSync(path)
  connection.exec('PRAGMA journal_mode = WAL')
  await checkpoints.copy()
  await checkpoints.close()
})
