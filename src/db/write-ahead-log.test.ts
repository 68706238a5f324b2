import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { openFile } from './database-file.ts'
import { openLog } from './write-ahead-log.ts'

test('a connection that breaks while the log is copied is reported by the restart of the log, and ends no process', async () => {
  using directory = temporaryDirectory()
  const path = directory.file('state.db')
  const writer = openFile(path)
  writer.exec('PRAGMA journal_mode = WAL; CREATE TABLE one (text TEXT)')
  const log = openLog(writer, path, true, { pagesPerCopy: 1 })
  const copied = Promise.withResolvers<void>()
  log.onCopied(() => copied.resolve())
  writer.exec("INSERT INTO one VALUES ('a')")
  const exec = writer.exec.bind(writer)
  writer.exec = (sql) => {
    if (sql.includes('wal_autocheckpoint')) throw new Error('database is not open')
    exec(sql)
  }
  await log.sync()
  await copied.promise
  assert.ok(log.isCopied)
  await assert.rejects(log.restart(), /database is not open/)
  await log.settle()
  log.reader.close()
  writer.close()
  log.close()
})
