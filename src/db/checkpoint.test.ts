import assert from 'node:assert/strict'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { Checkpoints } from './checkpoint.ts'

test('another thread copies the log into the file, while the connection that wrote it stays open', async () => {
  await using directory = temporaryDirectory()
  const path = directory.file('state.db')
  using connection = new DatabaseSync(path)
  connection.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE part (content BLOB)')
  connection.prepare('INSERT INTO part VALUES (?)').run(new Uint8Array(1_000_000))
  const before = statSync(path).size
  const done = new EventTarget()
  const checkpoints = new Checkpoints(path, () => done.dispatchEvent(new Event('done')))
  for (let round = 0; round < 2; round++) {
    const ended = once(done, 'done')
    checkpoints.start()
    await ended
  }
  assert.ok(statSync(path).size > before + 900_000, `${statSync(path).size} bytes`)
  await checkpoints.close()
})
