import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { buildFab } from './bundle.ts'
import { readFab } from './read-fab.ts'

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

test('a bundle holds the files of the app and their list', async () => {
  const { members } = await readFab(buildFab(newApp('whole')).bytes)
  assert.deepEqual([...members.keys()], ['pyproject.toml', 'app/client.ts', 'app/server.ts', '.info/CONTENT'])
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
  const numbered = newApp('numbered')
  const project = readFileSync(`${numbered}/pyproject.toml`, 'utf8')
  writeFileSync(`${numbered}/pyproject.toml`, project.replace('"1.0.0"', '1.0'))
  const climbing = newApp('climbing')
  writeFileSync(`${climbing}/pyproject.toml`, project.replace('"test"', '"../x"'))
  const twins = newApp('twins')
  writeFileSync(`${twins}/notes.md`, 'one')
  writeFileSync(`${twins}/Notes.md`, 'other')
  const forged = newApp('forged')
  writeFileSync(`${forged}/a\nb.md`, 'a line end in a name')
  const huge = newApp('huge')
  writeFileSync(`${huge}/data.csv`, Buffer.alloc(limits.fabBytesMax))
  const refused: readonly [string, RegExp][] = [
    [file('empty'), /There is no app in .*empty: a pyproject\.toml is needed \(flwr new makes one\)/],
    [file('app.fab'), /app\.fab is a FAB, not the folder of an app: unpack it with flwr install/],
    [broken, /app\/server\.ts does not parse: .* \(line \d+, column \d+\)$/],
    [missing, /The component 'app\/other\.ts:app' names app\/other\.ts, which is not among the app's files/],
    [nameless, /pyproject\.toml in .*nameless is not that of an app: .*Property "version" missing in \[project\]/],
    [numbered, /Property "version" in \[project\] must be a string/],
    [climbing, /Property "publisher" may hold letters, digits, spaces and the characters _\.@&'\+\(\)- only/],
    [twins, /The files 'Notes\.md' and 'notes\.md' cannot both exist in every file system: rename one of them/],
    [forged, /The name of the file 'a\\nb\.md' holds characters that cannot be printed: rename it or leave it out/],
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
