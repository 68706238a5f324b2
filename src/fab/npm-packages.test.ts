import assert from 'node:assert/strict'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { UsageError } from '../base/errors.ts'
import { buildFab } from './bundle.ts'
import { readFab } from './read-fab.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())
let apps = 0

const plain = 'export const app: number = 1\n'
const importing = `import days from 'days'\nimport { half } from './part.ts'\nexport const app: number = half(days(2))\n`
const part = 'export const half = (value: number): number => value / 2\n'
const days = {
  'package.json': '{ "name": "days", "main": "days.js" }',
  'days.js': 'module.exports = (n) => n * 86400\n',
}

/** An app whose client has that source, with files beside it and packages by name. */
function newApp(
  client: string,
  packages: Readonly<Record<string, Readonly<Record<string, string>>>>,
  files: Readonly<Record<string, string>> = {},
): string {
  const app = writeApp(directory.file(`folder-${++apps}/app`), { server: plain, client })
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(`${app}/${path}`), { recursive: true })
    writeFileSync(`${app}/${path}`, text)
  }
  for (const [path, text] of Object.entries(files)) write(path, text)
  for (const [name, packageFiles] of Object.entries(packages))
    for (const [path, text] of Object.entries(packageFiles)) write(`node_modules/${name}/${path}`, text)
  return app
}

test('packages are bundled into one module beside the component, with a source map, and nothing else changes', async () => {
  const app = newApp(importing, { days }, { 'app/part.ts': part })
  const { bytes, hash, warnings } = buildFab(app)
  const { members, manifest } = await readFab(bytes)
  assert.deepEqual(
    [...members.keys()],
    [
      ...['pyproject.toml', 'app/client.bundle.mjs', 'app/client.bundle.mjs.map', 'app/client.ts', 'app/part.ts'],
      ...['app/server.ts', '.info/CONTENT'],
    ],
  )
  assert.deepEqual(manifest.components, { serverapp: 'app/server.ts:app', clientapp: 'app/client.bundle.mjs:app' })
  assert.match(String(members.get('app/client.bundle.mjs')), /86400[\s\S]*sourceMappingURL=client\.bundle\.mjs\.map/)
  const map = JSON.parse(String(members.get('app/client.bundle.mjs.map')))
  assert.deepEqual(map.sources, ['../node_modules/days/days.js', 'client.ts', 'part.ts'])
  assert.ok(!String(members.get('app/client.bundle.mjs')).includes(directory.path), 'no path of this machine')
  assert.deepEqual(warnings, [])

  // From another folder, below compiler settings and a package.json of another project.
  const copy = directory.file('elsewhere/deeper/app')
  cpSync(app, copy, { recursive: true })
  writeFileSync(directory.file('elsewhere/tsconfig.json'), '{ "compilerOptions": { "target": "es5", "strict": true } }')
  writeFileSync(directory.file('elsewhere/package.json'), '{ "type": "commonjs", "sideEffects": false }')
  assert.equal(buildFab(copy).hash, hash)
})

test('a package that is imported for its effect is bundled, though it says that it has none', async () => {
  const backend = {
    'package.json': '{ "name": "backend", "main": "main.js", "sideEffects": false }',
    'main.js': 'globalThis.registered = 86400',
  }
  const app = newApp(`import 'backend'\n${plain}`, { backend })
  const { members } = await readFab(buildFab(app).bytes)
  assert.match(String(members.get('app/client.bundle.mjs')), /registered = 86400/)
})

test('an app that imports no package keeps its files, whatever lies in node_modules', async () => {
  const texts = [
    `import { readFileSync } from 'fs'\nimport { ClientApp } from 'trellis-fl'\nimport { log } from 'trellis-fl-sdk'\n${plain}`,
    `import { half } from './part.ts'\n// import days from 'days'\nexport const app = half(2)\n`,
    `${plain}export const later = () => import('./model.wasm')\n// from 'days'\n`,
  ]
  for (const client of texts) {
    const { members } = await readFab(buildFab(newApp(client, { days }, { 'app/part.ts': part })).bytes)
    assert.ok(![...members.keys()].some((path) => path.includes('bundle')), client)
    assert.equal(String(members.get('app/client.ts')), client)
  }
})

test('a package that cannot travel is refused with a remedy', () => {
  const native = { 'package.json': '{ "name": "fast", "main": "fast.js" }', 'fast.js': '' }
  const uses = (name: string): string => `import '${name}'\n${plain}`
  const refused: readonly (readonly [string, Parameters<typeof newApp>, RegExp])[] = [
    [
      'absent',
      [`${plain}import 'absent'\n`, {}],
      /^app\/client\.ts:2: the npm package 'absent' is not installed: run npm install in \/.*\/app\.$/,
    ],
    [
      'a .node file',
      [uses('fast'), { fast: { ...native, 'fast.js': `module.exports = require('./fast.node')`, 'fast.node': '' } }],
      /^app\/client\.ts imports the npm package 'fast', which holds native code .* use a package in JavaScript/,
    ],
    [
      'node-gyp',
      [uses('@a/fast'), { '@a/fast': { ...native, 'binding.gyp': '{}' } }],
      /npm package '@a\/fast', which holds native code/,
    ],
    [
      'of a package',
      [
        uses('slow'),
        {
          slow: { ...native, 'fast.js': `require('fast')` },
          fast: {
            ...native,
            'package.json': '{ "name": "fast", "main": "fast.js", "dependencies": { "bindings": "1" } }',
          },
        },
      ],
      /npm package 'fast', which holds native code/,
    ],
    [
      'ignored',
      [
        `import './secret.ts'\n${uses('days')}`,
        { days },
        { '.gitignore': 'secret.ts\n', 'app/secret.ts': 'export {}\n' },
      ],
      /^app\/client\.ts imports app\/secret\.ts, which is not among the app's files\.$/,
    ],
    [
      'outside',
      [`import "../../outside.ts"\n${uses('days')}`, { days }, { '../outside.ts': 'export {}\n' }],
      /^app\/client\.ts imports \.\.\/outside\.ts, which is not among/,
    ],
    [
      'taken',
      [uses('days'), { days }, { 'app/client.bundle.mjs': plain }],
      /has a file app\/client\.bundle\.mjs, where the packages of app\/client\.ts are bundled: rename it/,
    ],
  ]
  for (const [what, given, sentence] of refused) {
    assert.throws(
      () => buildFab(newApp(...given)),
      (error) => error instanceof UsageError && sentence.test(error.message),
      `${what} should say ${sentence}`,
    )
  }
})
