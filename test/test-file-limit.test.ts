import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { temporaryDirectory } from './harness/directory.ts'

test('a test file that keeps a handle open is ended and fails with its name', () => {
  using directory = temporaryDirectory()
  const file = directory.file('hangs.test.mjs')
  writeFileSync(file, 'setInterval(() => {}, 1000)')
  const limit = pathToFileURL(join(import.meta.dirname, '..', 'scripts', 'test-file-limit.ts')).href
  const { status, stderr } = spawnSync(process.execPath, [`--import=${limit}`, file], {
    env: { ...process.env, TEST_FILE_LIMIT_MS: '10' },
    encoding: 'utf8',
  })
  assert.equal(status, 1)
  assert.match(stderr, /hangs\.test\.mjs has not ended after 0\.01 s/)
})
