import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { buildFab } from '../fab/bundle.ts'
import { newAppFiles, type TemplateName, templates } from './new-app.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())

function write(folder: string, files: Readonly<Record<string, string>>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(directory.file(`${folder}/${path}`)), { recursive: true })
    writeFileSync(directory.file(`${folder}/${path}`), content)
  }
  return directory.file(folder)
}

for (const template of Object.keys(templates) as TemplateName[])
  test(`a new app from the template ${template} has its own name everywhere, an npm project and a test`, () => {
    const files = newAppFiles('Their-App', 'someone', template)
    for (const [path, text] of Object.entries(files)) {
      assert.doesNotMatch(path, /my-app/)
      assert.doesNotMatch(text, /my-app|my-name/, path)
    }
    const manifest = JSON.parse(files['package.json'] ?? '')
    assert.deepEqual([manifest.name, manifest.type], ['their-app', 'module'])
    assert.equal(JSON.parse(files['tsconfig.json'] ?? '').compilerOptions.strict, true)
    assert.match(files['Their-App/app.test.ts'] ?? '', /new InMemoryGrid\(/)
    // Packages that it imports would have to be installed.
    if (Object.keys(manifest.dependencies).length > 1) return
    const { manifest: built, warnings } = buildFab(write(template, files))
    assert.deepEqual(warnings, [])
    assert.equal(built.fabId, 'someone/Their-App')
    assert.equal(built.components.serverapp, 'Their-App/server-app.ts:app')
  })
