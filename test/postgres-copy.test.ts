import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { copyForAll, isOpenToAll } from '../scripts/postgres.ts'
import { temporaryDirectory } from './harness/directory.ts'

test('PostgreSQL in a private folder is copied as it is, once', () => {
  using directory = temporaryDirectory()
  const folder = directory.file('private/postgresql')
  mkdirSync(folder, { recursive: true })
  chmodSync(dirname(folder), 0o700)
  chmodSync(folder, 0o755)
  writeFileSync(join(folder, 'libpq.so.5'), 'library')
  symlinkSync('libpq.so.5', join(folder, 'libpq.so'))
  assert.equal(isOpenToAll(folder), false)
  assert.equal(isOpenToAll('/usr/lib'), true)

  const copy = directory.file('copy')
  assert.equal(copyForAll(folder, copy), copy)
  assert.equal(statSync(copy).mode & 0o777, 0o755)
  assert.equal(readlinkSync(join(copy, 'libpq.so')), 'libpq.so.5')
  writeFileSync(join(folder, 'libpq.so.5'), 'changed')
  assert.equal(copyForAll(folder, copy), copy)
  assert.equal(readFileSync(join(copy, 'libpq.so'), 'utf8'), 'library')
})
