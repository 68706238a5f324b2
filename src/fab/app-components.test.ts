import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeMixedApp } from '../../test/harness/python-apps.ts'
import { writeStoredZip } from '../base/zip-write.ts'
import { chooseClientApp } from './app-components.ts'
import { buildFab } from './bundle.ts'
import { writeContentList } from './content-list.ts'
import { readFab } from './read-fab.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())

const python = { language: 'python', source: 'app = 1\n' } as const
const plain = 'export const app = 1\n'

function newApp(name: string, twin = plain): string {
  return writeMixedApp(directory.file(name), { server: python, client: python, twin })
}

/** The app with another text in its `pyproject.toml`. */
function changed(name: string, from: string, to: string): string {
  const app = newApp(name)
  const text = readFileSync(`${app}/pyproject.toml`, 'utf8')
  writeFileSync(`${app}/pyproject.toml`, text.replace(from, to))
  return app
}

test('a FAB holds the ClientApps of both languages, and each site its own', async () => {
  const { bytes, warnings } = buildFab(newApp('both'))
  assert.deepEqual(warnings, [])
  const { members, manifest } = await readFab(bytes)
  assert.deepEqual(
    ['app/client.py', 'app/client.ts'].map((path) => members.has(path)),
    [true, true],
  )
  assert.equal(chooseClientApp(manifest.components, 'python'), 'app.client:app')
  assert.equal(chooseClientApp(manifest.components, 'typescript'), 'app/client.ts:app')
})

test('a ClientApp in one language runs at every site', () => {
  const components = { serverapp: 'app.server:app', clientapp: 'app.client:app' }
  assert.equal(chooseClientApp(components, 'typescript'), 'app.client:app')
  assert.equal(chooseClientApp({ ...components, clientapp: 'app/client.ts:app' }, 'python'), 'app/client.ts:app')
})

test('packages of the ClientApp in TypeScript are bundled, and the one in Python stays', async () => {
  const app = newApp('packages', `import days from 'days'\nexport const app = days(2)\n`)
  mkdirSync(`${app}/node_modules/days`, { recursive: true })
  writeFileSync(`${app}/node_modules/days/package.json`, '{ "name": "days", "main": "days.js" }')
  writeFileSync(`${app}/node_modules/days/days.js`, 'module.exports = (n) => n * 86400\n')
  const { members, manifest } = await readFab(buildFab(app).bytes)
  assert.match(String(members.get('app/client.bundle.mjs')), /86400/)
  assert.deepEqual(manifest.components, {
    serverapp: 'app.server:app',
    clientapp: 'app.client:app',
    typescriptClientapp: 'app/client.bundle.mjs:app',
  })
})

test('a FAB that flwr of Flower built has no TypeScript files: every site runs the ClientApp in Python', async () => {
  const { members } = await readFab(buildFab(newApp('flowers')).bytes)
  const left = [...members].filter(([path]) => !path.endsWith('.ts') && path !== '.info/CONTENT')
  const bytes = writeStoredZip([...left, ['.info/CONTENT', Buffer.from(writeContentList(left))]])
  const { manifest } = await readFab(bytes)
  assert.equal(chooseClientApp(manifest.components, 'typescript'), 'app.client:app')
})

test('faults of the table for the second language are named when the app is built', () => {
  const twin = 'clientapp = "app/client.ts:app"'
  const faults: [string, string, RegExp][] = [
    [twin, 'clientapp = "app.client:app"', /must have the form "folder\/file\.ts:export"/],
    [twin, 'clientapp = 1', /must have the form "folder\/file\.ts:export"/],
    [twin, 'serverapp = "app/client.ts:app"', /"serverapp" in \[tool\.trellis\.app\.components\] is unknown/],
    [twin, 'clientapp = "app/other.ts:app"', /names app\/other\.ts, which is not among the app's files/],
    ['clientapp = "app.client:app"', twin, /must be Python if/],
    [`[tool.trellis.app.components]\n${twin}`, '[tool.trellis.app]\ncomponents = 1', /must be a table/],
  ]
  for (const [index, [from, to, fault]] of faults.entries())
    assert.throws(() => buildFab(changed(`fault-${index}`, from, to)), fault)
})
