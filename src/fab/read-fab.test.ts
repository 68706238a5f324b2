import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { writeStoredZip } from '../base/zip-write.ts'
import { buildFab } from './bundle.ts'
import { writeContentList } from './content-list.ts'
import { installFab } from './install-fab.ts'
import { readFab } from './read-fab.ts'
import { readMembers } from './read-members.ts'

const directory = temporaryDirectory()
const { file } = directory
after(() => directory[Symbol.dispose]())

const source = 'export const app: number = 1\n'
const newApp = (name: string): string => writeApp(file(name), { server: source, client: source })
const good = buildFab(newApp('good'))
const files = new Map(await readMembers(good.bytes))
files.delete('.info/CONTENT')

/** A complete bundle with these files in place of, or beside, those of a good one. */
function bundle(changes: Readonly<Record<string, string | Uint8Array>>, list?: (text: string) => string): Uint8Array {
  const members: (readonly [string, Uint8Array])[] = [
    ...new Map([...files, ...Object.entries(changes).map(([path, content]) => [path, Buffer.from(content)] as const)]),
  ]
  const content = writeContentList(members)
  return writeStoredZip([...members, ['.info/CONTENT', Buffer.from(list ? list(content) : content)]])
}

function withProject(change: (text: string) => string): Uint8Array {
  return bundle({ 'pyproject.toml': change(Buffer.from(files.get('pyproject.toml') as Uint8Array).toString()) })
}

async function ensureRefused(cases: readonly (readonly [string, Uint8Array, RegExp])[]): Promise<void> {
  for (const [what, bytes, sentence] of cases) {
    await assert.rejects(
      installFab(bytes, file('refused')),
      (error) => {
        assert.ok(error instanceof DomainError, `${what} is no plain refusal: ${error}`)
        assert.match(error.message, sentence, what)
        assert.doesNotMatch(error.message, /[\p{Cc}\p{Cf}\u2028]/u, `${what} may forge a line`)
        return true
      },
      what,
    )
  }
  assert.equal(existsSync(file('refused')), false, 'something was written')
}

test('an archive that is damaged, too large or unsafe is refused, and nothing is written', async () => {
  const damaged = Buffer.from(good.bytes)
  const at = damaged.indexOf('export const app')
  damaged[at] = damaged[at]! ^ 1
  const symlink = Buffer.from(bundle({ link: 'x' }))
  // The mode of a member in the central directory, found by its name: a symbolic link.
  symlink.writeUInt32LE(0o120777 * 65536, symlink.lastIndexOf('link') - 8)
  const twice = writeStoredZip([...files, ['app/server.ts', Buffer.from('y')]])
  await ensureRefused([
    ['not a ZIP', Buffer.from('hello'), /not a ZIP archive/],
    ['cut short', good.bytes.subarray(0, good.bytes.length - 30), /not a ZIP archive/],
    ['damaged', damaged, /is damaged \(CRC\)/],
    ['outside', bundle({ '../outside.ts': 'x' }), /Invalid FAB: .*\.\.\/outside\.ts/],
    ['absolute', bundle({ '/etc/passwd': 'x' }), /Invalid FAB: .*\/etc\/passwd/],
    [
      'control characters',
      bundle({ 'a\n\u001b[31mb': 'x' }),
      /'a\\n\\u001b\[31mb' holds characters that cannot be printed/,
    ],
    ['no name', bundle({ '': 'x' }), /'' has an empty part/],
    ['twice', twice, /'app\/server\.ts' is in it twice/],
    ['but for case', bundle({ 'APP/Server.ts': 'x' }), /'app\/server\.ts' and 'APP\/Server\.ts' cannot both exist/],
    ['a file in a file', bundle({ 'app/server.ts/x': 'x' }), /'app\/server\.ts' and 'app\/server\.ts\/x' cannot both/],
    ['symbolic link', symlink, /'link' is a symbolic link/],
    ['no pyproject', writeStoredZip([['a.ts', Buffer.from('x')]]), /no pyproject\.toml/],
    ['too large', Buffer.alloc(limits.fabBytesMax + 1), /larger than 52428800 bytes/],
    [
      'too many files',
      writeStoredZip(
        Array.from({ length: limits.fabFilesMax + 1 }, (_, index) => [`f${index}`, new Uint8Array()] as const),
      ),
      /more than 10000 files/,
    ],
  ])
})

test('a bundle whose list of contents does not fit is refused', async () => {
  const server = 'app/server.ts'
  await ensureRefused([
    ['no list', writeStoredZip([...files]), /no \.info\/CONTENT/],
    [
      'another hash',
      bundle({}, (list) => list.replace(/(app\/server\.ts,)\w{64}/, `$1${'0'.repeat(64)}`)),
      /has another hash than listed/,
    ],
    [
      'another size',
      bundle({}, (list) => list.replace(/(app\/server\.ts,\w{64},)\d+/, '$18')),
      /has another size than listed/,
    ],
    ['missing', bundle({}, (list) => `${list}\nabsent.py,${'0'.repeat(64)},8`), /'absent\.py' is listed but missing/],
    ['listed twice', bundle({}, (list) => `${list}\n${list.split('\n')[1]}`), /is listed twice/],
    [
      'not listed',
      bundle({ 'evil.ts': 'x' }, (list) => list.replace(/\nevil\.ts.*/, '')),
      /'evil\.ts' is not listed in \.info\/CONTENT/,
    ],
    [
      'beside the list',
      bundle({ '.info/MORE': 'x' }, (list) => list.replace(/\n\.info.*/, '')),
      /'\.info\/MORE' is not listed/,
    ],
    [
      'lists itself',
      bundle({}, (list) => `${list}\n.info/CONTENT,${'0'.repeat(64)},8`),
      /'\.info\/CONTENT' is listed but missing/,
    ],
    [
      'unreadable',
      bundle({}, (list) => `${list}\n${server}`),
      /a line of \.info\/CONTENT cannot be read: 'app\/server\.ts'/,
    ],
  ])
})

test('names that would leave the folder of apps, forge a line or hide are refused', async () => {
  const bad = [
    '../x',
    'x/../../../outside/y',
    '..',
    'a/b',
    'a\\\\b',
    'x\\nWARNING :   forged',
    '1\\u001b[31m',
    'a\\u0000b',
    '',
    ' a',
  ]
  const hidden = ['a\u200bb', 'a\u202eb', 'a\u2028b', `a${'b'.repeat(64)}`]
  for (const key of ['name', 'version', 'publisher']) {
    await ensureRefused(
      [...bad, ...hidden].map((value) => [
        `${key} ${JSON.stringify(value)}`,
        withProject((text) => text.replace(new RegExp(`^(${key} = )".*"`, 'm'), `$1"${value}"`)),
        new RegExp(`Property "${key}" (may hold|is longer)|Invalid TOML content`),
      ]),
    )
  }
})

test('names that earlier releases of Flower build are accepted', async () => {
  for (const [key, value] of [
    ['name', 'my_app'],
    ['name', 'my.app-2'],
    ['version', '1.0.0rc1+cu121'],
    ['publisher', "Anna O'Neil & Söhne (Ward 3)"],
    ['publisher', '@flwrlabs'],
  ] as const) {
    const bytes = withProject((text) => text.replace(new RegExp(`^(${key} = )".*"`, 'm'), `$1"${value}"`))
    assert.equal((await readFab(bytes)).manifest[key], value)
  }
})

test('a pyproject.toml that would take long to read is refused at once', async () => {
  const keys = Array.from({ length: limits.pyprojectPartsMax + 1 }, (_, index) => `k${index}=1`).join('\n')
  const tables = Array.from({ length: 2000 }, (_, index) => `[t${index}]\na={}\nb=[]\n`).join('')
  const sentence = /Invalid TOML content in pyproject\.toml/
  await ensureRefused([
    [
      'large',
      withProject((text) => `${text}\n# ${'x'.repeat(limits.pyprojectBytesMax)}`),
      /pyproject\.toml is larger than 262144 bytes/,
    ],
    ['many keys', withProject((text) => `${text}\n[x]\n${keys}`), /more than 5000 keys, elements and tables/],
    ['many tables', withProject((text) => `${text}\n${tables}`), /more than 5000 keys, elements and tables/],
    [
      'deep arrays',
      withProject((text) => `${text}\n[x]\na=${'['.repeat(20_000)}${']'.repeat(20_000)}`),
      /nested deeper than 32/,
    ],
    [
      'deep tables',
      withProject((text) => `${text}\n[x]\na=${'{a='.repeat(20_000)}1${'}'.repeat(20_000)}`),
      /nested deeper than 32/,
    ],
    ['deep keys', withProject((text) => `${text}\n[x]\n${'a.'.repeat(20_000)}a=1`), /nested deeper than 32/],
    ['deep headers', withProject((text) => `${text}\n[${'a.'.repeat(20_000)}a]`), /nested deeper than 32/],
    ['not UTF-8', bundle({ 'pyproject.toml': Buffer.from([0xe9, 0x0a]) }), /pyproject\.toml is not UTF-8/],
    ['not TOML', withProject((text) => `${text}\nx = `), sentence],
  ])
})

test('a bundle is unpacked once, and its folder is used only while it holds the same files', async () => {
  const home = file('home')
  const { bytes, hash } = good
  const first = await installFab(bytes, home, hash)
  assert.equal(first.installed, true)
  assert.equal(readFileSync(`${first.directory}/app/server.ts`, 'utf8'), source)
  assert.equal(existsSync(`${first.directory}/.info`), false)
  // What Python leaves beside its sources does no harm.
  mkdirSync(`${first.directory}/app/__pycache__`)
  assert.deepEqual(await installFab(bytes, home, hash), { ...first, installed: false })
  // As if another bundle, whose hash begins alike, had been here first.
  writeFileSync(`${first.directory}/app/server.ts`, source.replace('1', '2'))
  const second = await installFab(bytes, home)
  assert.equal(second.installed, true)
  assert.equal(second.directory, first.directory.replace(/[0-9a-f]{8}$/, hash))
  assert.equal(readFileSync(`${second.directory}/app/server.ts`, 'utf8'), source)
  assert.deepEqual(await installFab(bytes, home), { ...second, installed: false })
  writeFileSync(`${second.directory}/app/server.ts`, '')
  await assert.rejects(installFab(bytes, home), /was changed after it was installed: remove that folder/)
  await assert.rejects(installFab(bytes, home, '0'.repeat(64)), /another hash than announced/)
  assert.equal(readdirSync(`${home}/apps`).length, 2, 'nothing half unpacked is left')
})

test('several processes that install one bundle at the same time share one folder', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => installFab(good.bytes, file('crowd'))))
  assert.equal(new Set(all.map(({ directory }) => directory)).size, 1)
  assert.equal(all.filter(({ installed }) => installed).length, 1)
  assert.equal(readdirSync(`${file('crowd')}/apps`).length, 1)
})
