import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { buildFab } from '../fab/bundle.ts'
import type { Manifest } from '../fab/pyproject.ts'
import { ClientApp } from '../sdk/client-app.ts'
import { AppLoadError, installApp, loadComponent } from './load-app.ts'
import { loadOnce } from './loaded-apps.ts'
import { sdkUrl } from './sdk-url.ts'

const home = temporaryDirectory()
after(() => home[Symbol.dispose]())
let apps = 0

/** An app that is installed in a folder of its own. */
function install(files: Readonly<Record<string, string>>) {
  const directory = home.file(`app-${++apps}`)
  mkdirSync(join(directory, 'app'), { recursive: true })
  const write = (name: string, text: string): void => writeFileSync(join(directory, 'app', name), text)
  for (const [name, text] of Object.entries(files)) write(name, text)
  const load = (reference = 'app/client.ts:app'): Promise<ClientApp> =>
    loadComponent({ directory, manifest: {} as Manifest }, reference, ClientApp, sdkUrl)
  return { write, load }
}

const client = `import { ClientApp } from 'trellis-fl'\n`
const good = `${client}export const app = new ClientApp()\n`

test('an app is loaded with the SDK of this process, whatever its folder says about modules', async () => {
  const { load } = install({
    'client.ts': `import { ClientApp as Same, value } from './part.ts'\n${good}export const parts: { inner: unknown } = { inner: value && new Same() }\n`,
    'part.ts': `export { ClientApp } from 'trellis-fl-sdk'\nexport const value: number = 1\n`,
    'package.json': '{ "type": "commonjs" }\n',
  })
  const app = await load()
  assert.ok(app instanceof ClientApp)
  // Under the SDK's other name too.
  assert.ok((await load('app/client.ts:parts.inner')) instanceof ClientApp)
})

test('the folder above an app decides nothing about its modules: a package.json there, or a link', async () => {
  mkdirSync(home.file('commonjs/apps/one/app'), { recursive: true })
  writeFileSync(home.file('commonjs/package.json'), '{ "type": "commonjs" }\n')
  writeFileSync(home.file('commonjs/apps/one/app/client.ts'), `export * from "./other.js"\n`)
  writeFileSync(home.file('commonjs/apps/one/app/other.js'), good)
  symlinkSync(home.file('commonjs'), home.file('link'))
  const load = (directory: string): Promise<ClientApp> =>
    loadComponent({ directory, manifest: {} as Manifest }, 'app/client.ts:app', ClientApp, sdkUrl)
  assert.ok((await load(home.file('link/apps/one'))) instanceof ClientApp)
  assert.ok((await load(home.file('commonjs/apps/one'))) instanceof ClientApp)
})

test('an app with npm packages of both forms is loaded from its bundle, and errors show lines of its author', async () => {
  const folder = writeApp(home.file('packaged'), {
    server: good,
    client: `import { lines } from 'modern'\n\n${good}export const fail = (): never => {\n  throw new Error(String(lines))\n}\n`,
  })
  const packages = {
    'modern/package.json': '{ "name": "modern", "type": "module", "exports": "./m.js" }',
    'modern/m.js': `import { readFileSync } from 'node:fs'\nimport older from 'older'\nexport const lines = older(readFileSync)\n`,
    'older/package.json': '{ "name": "older" }',
    'older/index.js': `const fs = require('fs')\nmodule.exports = (same) => fs.readFileSync === same && typeof __dirname\n`,
  }
  for (const [path, text] of Object.entries(packages)) {
    mkdirSync(dirname(join(folder, 'node_modules', path)), { recursive: true })
    writeFileSync(join(folder, 'node_modules', path), text)
  }
  const { bytes, hash } = buildFab(folder)
  const installed = await installApp({ content: bytes, hashStr: hash }, home.path)
  const { clientapp } = installed.manifest.components
  assert.ok((await loadComponent(installed, clientapp, ClientApp, sdkUrl)) instanceof ClientApp)
  const { fail } = await import(pathToFileURL(join(installed.directory, 'app', 'client.bundle.mjs')).href)
  assert.throws(fail, (error: Error) => {
    assert.equal(error.message, 'string')
    assert.match(String(error.stack), /app\/client\.ts:6:9/)
    return true
  })
})

test('an app that cannot be used is refused with what is wrong with it', async () => {
  const { load } = install({
    'client.ts': `${good}export const other = 1\n`,
    'broken.ts': `throw new RangeError('no data here')\n`,
  })
  const refused: readonly [string, RegExp][] = [
    ['app/client.ts:other', /'other' in app\/client\.ts is not a ClientApp: export one under that name/],
    ['app/client.ts:none.there', /'none\.there' in app\/client\.ts is not a ClientApp/],
    ['app/none.ts:app', /app\/none\.ts cannot be loaded: /],
    ['app/broken.ts:app', /app\/broken\.ts cannot be loaded: .*no data here/],
    ['app.client:app', /is Python; this program runs TypeScript/],
  ]
  for (const [reference, sentence] of refused)
    await assert.rejects(load(reference), (error) => error instanceof AppLoadError && sentence.test(error.message))
  await assert.rejects(installApp(undefined, home.path), /The server sent no FAB/)
})

test('an app that could not be loaded is loaded again, parts included, and not for ever', async () => {
  const { load, write } = install({
    'client.ts': `import './part.ts'\n${good}`,
    'part.ts': `throw new Error('not yet')\n`,
  })
  await assert.rejects(load(), /not yet/)
  await assert.rejects(load(), /not yet/)
  write('part.ts', 'export {}\n')
  const app = await load()
  assert.equal(await load(), app)

  const counter = globalThis as { loads?: number }
  const hopeless = install({
    'client.ts': `globalThis.loads = (globalThis.loads ?? 0) + 1\nthrow new Error('never')\n`,
  })
  for (let turn = 0; turn < 10; turn++) await assert.rejects(hopeless.load(), /never/)
  assert.equal(counter.loads, 6)
})

test('an app is loaded once for all its tasks, unless that failed', async () => {
  const outcomes: (() => Promise<ClientApp>)[] = [
    async () => Promise.reject(new AppLoadError('no space left')),
    async () => new ClientApp(),
    async () => assert.fail('the app was loaded already'),
  ]
  const load = loadOnce(() => (outcomes.shift() as () => Promise<ClientApp>)())
  const input = { fab: { hashStr: 'a' } } as Parameters<typeof load>[1]
  const task = {} as Parameters<typeof load>[0]
  await assert.rejects(load(task, input), /no space left/)
  const app = await load(task, input)
  assert.equal(await load(task, input), app)
})
