import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { buildFab } from '../fab/bundle.ts'
import { newAppFiles } from './new-app.ts'

test('a new app builds, without a warning, under the name and publisher that were given', () => {
  const folder = mkdtempSync(join(tmpdir(), 'trellis-new-'))
  for (const [path, content] of Object.entries(newAppFiles('my-app', 'someone'))) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  const { manifest, filename, warnings } = buildFab(folder)
  rmSync(folder, { recursive: true })
  assert.deepEqual(warnings, [])
  assert.equal(manifest.fabId, 'someone/my-app')
  assert.deepEqual(manifest.components, {
    serverapp: 'my-app/server-app.ts:app',
    clientapp: 'my-app/client-app.ts:app',
  })
  assert.match(filename, /^someone\.my-app\.1-0-0\.[0-9a-f]{8}\.fab$/)
})
