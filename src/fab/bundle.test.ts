import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { DomainError, UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { buildFab, installFab, readFab } from './bundle.ts'
import { readZip } from './zip-read.ts'
import { writeStoredZip } from './zip-write.ts'

const directory = temporaryDirectory()
const { file } = directory
after(() => directory[Symbol.dispose]())

const source = 'export const app: number = 1\n'
const newApp = (name: string, sources: { server?: string; client?: string } = {}): string =>
  writeApp(file(name), { server: source, client: source, ...sources })

test('the same files give the same bytes, and what Git ignores stays out', async () => {
  const app = newApp('same')
  writeFileSync(`${app}/.gitignore`, 'secret.md\n# a comment\n')
  writeFileSync(`${app}/secret.md`, 'not for others')
  writeFileSync(`${app}/notes.md`, 'for everybody')
  symlinkSync('/etc/hostname', `${app}/link.md`)
  const first = buildFab(app)
  writeFileSync(`${app}/notes.md`, readFileSync(`${app}/notes.md`))
  const second = buildFab(app)
  assert.equal(first.hash, second.hash)
  assert.deepEqual(first.bytes, second.bytes)
  const { members } = await readFab(first.bytes)
  assert.deepEqual(
    ['notes.md', 'secret.md', 'link.md'].map((path) => members.has(path)),
    [true, false, false],
  )
  assert.match(first.filename, /^test\.same\.1-0-0\.[0-9a-f]{8}\.fab$/)
})

test('a bundle holds what it lists, and is unpacked whole, once', async () => {
  const { bytes, hash } = buildFab(newApp('whole'))
  const { members } = await readFab(bytes)
  assert.deepEqual([...members.keys()], ['pyproject.toml', 'app/client.ts', 'app/server.ts', '.info/CONTENT'])
  const { directory: installed, installed: isNew } = await installFab(bytes, file('home'), hash)
  assert.equal(isNew, true)
  assert.equal(readFileSync(`${installed}/app/server.ts`, 'utf8'), source)
  assert.equal(existsSync(`${installed}/.info`), false)
  assert.equal((await installFab(bytes, file('home'), hash)).installed, false)
  await assert.rejects(installFab(bytes, file('home'), '0'.repeat(64)), /another hash than announced/)
})

test('an app that cannot be built is refused with what is wrong and where', () => {
  mkdirSync(file('empty'))
  const broken = newApp('broken', { server: 'export const app = {{{\n' })
  const missing = newApp('missing')
  writeFileSync(
    `${missing}/pyproject.toml`,
    readFileSync(`${missing}/pyproject.toml`, 'utf8').replace('app/client.ts:app', 'app/other.ts:app'),
  )
  const nameless = newApp('nameless')
  writeFileSync(`${nameless}/pyproject.toml`, '[project]\nname = "x"\n')
  const huge = newApp('huge')
  writeFileSync(`${huge}/data.csv`, Buffer.alloc(limits.fabBytesMax))
  const refused: readonly [string, RegExp][] = [
    [file('empty'), /There is no app in .*empty: a pyproject\.toml is needed \(flwr new makes one\)/],
    [broken, /app\/server\.ts does not parse/],
    [missing, /The component 'app\/other\.ts:app' names app\/other\.ts, which is not among the app's files/],
    [nameless, /pyproject\.toml in .*nameless is not that of an app: .*Property "version" missing in \[project\]/],
    [huge, /more than the 52428800 that a FAB may have: leave files out with \.gitignore or fab-exclude/],
  ]
  for (const [app, sentence] of refused) {
    assert.throws(
      () => buildFab(app),
      (error) => error instanceof UsageError && sentence.test(error.message),
      `${app} should say ${sentence}`,
    )
  }
})

test('a stranger’s bundle is refused for anything that is not right, and nothing is written', async () => {
  const good = buildFab(newApp('good')).bytes
  const damaged = Buffer.from(good)
  const at = damaged.indexOf('export const app')
  damaged[at] = damaged[at]! ^ 1
  const content = Buffer.from('')
  const withMember = (path: string, more: [string, Uint8Array][] = []): Uint8Array =>
    writeStoredZip([[path, Buffer.from('x')], ...more, ['.info/CONTENT', content]])
  const symlink = Buffer.from(withMember('link'))
  // The mode of the first member, in the central directory: a symbolic link.
  symlink.writeUInt32LE(0o120777 * 65536, symlink.indexOf('PK\x01\x02') + 38)
  const refused: readonly [string, Uint8Array, RegExp][] = [
    ['not a ZIP', Buffer.from('hello'), /not a ZIP archive/],
    ['cut short', good.subarray(0, good.length - 30), /not a ZIP archive/],
    ['damaged', damaged, /is damaged \(CRC\)/],
    ['outside', withMember('../outside.ts'), /Invalid FAB: .*\.\.\/outside\.ts/],
    ['absolute', withMember('/etc/passwd'), /Invalid FAB: .*\/etc\/passwd/],
    ['twice', withMember('a.ts', [['a.ts', Buffer.from('y')]]), /'a\.ts' is in it twice/],
    ['symbolic link', symlink, /'link' is a symbolic link/],
    ['no pyproject', withMember('a.ts'), /no pyproject\.toml/],
    ['too large', Buffer.alloc(limits.fabBytesMax + 1), /larger than 52428800 bytes/],
    [
      'too many files',
      writeStoredZip(
        Array.from({ length: limits.fabFilesMax + 1 }, (_, index) => [`f${index}`, new Uint8Array()] as const),
      ),
      /more than 10000 files/,
    ],
  ]
  for (const [what, bytes, sentence] of refused) {
    await assert.rejects(
      installFab(bytes, file('strangers')),
      (error) => error instanceof DomainError && sentence.test(error.message),
      `${what} should say ${sentence}`,
    )
  }
  assert.equal(existsSync(file('strangers')), false)
})

test('a listed file with another hash, or one that is missing, is refused', async () => {
  const { bytes } = buildFab(newApp('listed'))
  const members = await readZip(bytes)
  const rezipped = (change: (members: Map<string, Uint8Array>) => void): Uint8Array => {
    const copy = new Map(members)
    change(copy)
    return writeStoredZip([...copy])
  }
  await assert.rejects(
    readFab(rezipped((copy) => copy.set('app/server.ts', Buffer.from('evil()')))),
    /'app\/server\.ts' has another hash than listed/,
  )
  await assert.rejects(
    readFab(rezipped((copy) => copy.delete('app/server.ts'))),
    /'app\/server\.ts' is listed but missing/,
  )
})
