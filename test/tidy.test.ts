import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize, relative } from 'node:path'
import { test } from 'node:test'

/** The rules of the house that a machine can check. */

const root = join(import.meta.dirname, '..')
const sources = walk('src').filter((path) => path.endsWith('.ts') && !path.startsWith('src/gen/'))
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8')

/** What each folder of `src` may import from, beside itself and `gen`. Programs never import each other. */
const base: readonly string[] = ['base']
const dependencies: Readonly<Record<string, readonly string[]>> = {
  base: [],
  db: base,
  identity: base,
  rpc: [...base, 'identity'],
  access: [...base, 'rpc'],
  fab: base,
  objects: [...base, 'db'],
  message: [...base, 'objects'],
  tasks: [...base, 'db', 'identity', 'rpc', 'access', 'objects', 'message'],
  execution: [...base, 'db', 'rpc', 'objects', 'message', 'tasks'],
  sdk: [...base, 'message'],
  'app-api': [...base, 'identity', 'rpc', 'objects', 'message'],
  'app-runtime': [...base, 'rpc', 'identity', 'fab', 'objects', 'message', 'sdk', 'app-api'],
  superexec: [...base, 'identity', 'rpc', 'fab', 'objects', 'message', 'app-api'],
  supernode: [...base, 'db', 'identity', 'rpc', 'fab', 'objects', 'message', 'tasks', 'execution'],
  superlink: [
    ...base,
    'db',
    'identity',
    'rpc',
    'access',
    'fab',
    'objects',
    'message',
    'tasks',
    'execution',
    'dashboard',
  ],
  cli: [...base, 'identity', 'rpc', 'fab', 'message', 'dashboard', 'web'],
  // What `flwr dashboard` and the wall screen of a SuperLink send to the page.
  dashboard: [...base, 'rpc', 'web'],
  // The page of the dashboard, which runs in a browser.
  web: [],
}

test('arrows between folders point down', () => {
  const wrong: string[] = []
  for (const path of sources) {
    const folder = path.split('/')[1] as string
    if (folder.endsWith('.ts')) continue
    for (const [, specifier = ''] of textOf(path).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      const target = normalize(join(path, '..', specifier)).split('/')[1] as string
      if (target === folder || target === 'gen') continue
      // Tests may lean on the harness.
      if (path.endsWith('.test.ts') && specifier.includes('/test/harness/')) continue
      if (!dependencies[folder]?.includes(target)) wrong.push(`${path} imports ${specifier}`)
    }
  }
  assert.deepEqual(wrong, [])
})

/**
 * Statements that store no text: counters and dates, and ids that are hashes, which were checked with the message. Rows that
 * are copied were checked when they were stored.
 */
const withoutText: readonly (readonly [path: string, count: number])[] = [
  ['src/db/copy-rows.ts', 1],
  ['src/objects/object-rows.ts', 1],
  ['src/superlink/delivery/participant-store.ts', 4],
  ['src/superlink/events/outbox-store.ts', 1],
  ['src/superlink/nodes/node-store.ts', 1],
  ['src/superlink/runs/run-store.ts', 2],
  ['src/tasks/task-store.ts', 2],
]

test('every statement that stores texts checks their limits with `fitting`', () => {
  const found = new Map<string, number>()
  for (const path of sources.filter((path) => !path.endsWith('.test.ts') && !path.includes('/migrations'))) {
    const text = textOf(path)
    const starts = [...text.matchAll(/\.(?:insertInto|updateTable|replaceInto|mergeInto)\(/g)].map(({ index }) => index)
    for (const [place, start] of starts.entries()) {
      const statement = text.slice(start, Math.min(start + 700, starts[place + 1] ?? text.length))
      if (!statement.includes('fitting(')) found.set(path, (found.get(path) ?? 0) + 1)
    }
  }
  assert.deepEqual([...found].toSorted(), withoutText.toSorted())
})

test('every table is written by one file', () => {
  const writers = new Map<string, Set<string>>()
  for (const path of sources.filter((path) => !path.endsWith('.test.ts'))) {
    for (const [, table = ''] of textOf(path).matchAll(
      /(?:insertInto|updateTable|deleteFrom|replaceInto|mergeInto)\(\s*'(\w+)/g,
    ))
      writers.set(table, (writers.get(table) ?? new Set()).add(path))
  }
  assert.ok(writers.size > 5, 'no statements were found')
  assert.deepEqual(
    [...writers].filter(([, files]) => files.size > 1),
    [],
  )
})

test('what talks to peers is imported by nothing that decides', () => {
  const deciding = sources.filter((path) => /^src\/superlink\/(?!api\/)\w+\//.test(path))
  const upwards = deciding.filter((path) => /from '\.\.\/api\//.test(textOf(path)))
  assert.ok(deciding.length > 0, 'no rules were found')
  assert.deepEqual(upwards, [])
})

test('examples import what the author of an app has', () => {
  for (const path of walk('examples').filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))) {
    for (const [, specifier = ''] of textOf(path).matchAll(/from '([^']+)'/g))
      assert.match(specifier, /^(trellis-fl$|node:|\.\/)/, `${path}: ${specifier}`)
  }
})

test('relative imports name files, and only the SDK has an index', () => {
  for (const path of sources) {
    for (const [, specifier = ''] of textOf(path).matchAll(/from '(\.[^']+)'/g))
      assert.match(specifier, /\.ts$/, `${path}: ${specifier}`)
  }
  assert.deepEqual(
    sources.filter((path) => basename(path) === 'index.ts'),
    ['src/sdk/index.ts'],
  )
})

test('files are named in kebab-case and hold domain words', () => {
  for (const path of [...sources, ...walk('test'), ...walk('scripts'), ...walk('docs')]) {
    for (const part of relative('.', path).split('/')) {
      assert.match(part, /^[a-z0-9]+([-.][a-z0-9]+)*$/, path)
      assert.doesNotMatch(part, /^(utils?|helpers?|common|misc|types)(\.|$)/, path)
    }
  }
})

test('no file is longer than 300 lines', () => {
  const long = sources
    .filter((path) => !path.endsWith('.test.ts'))
    .map((path) => [path, textOf(path).split('\n').length] as const)
    .filter(([, lines]) => lines > 300)
  assert.deepEqual(long, [])
})

test('processes end in one place, suppressions have reasons, and markers name an issue', () => {
  const wrong = sources.flatMap((path) => {
    const text = textOf(path)
    const mayExit = path === 'src/start.ts' || path === 'src/base/program.ts' || path.endsWith('.test.ts')
    return [
      ...(/TODO(?!\(#\d+\))|FIXME|XXX/.test(text) ? [`${path} has a marker without an issue`] : []),
      ...(/biome-ignore \S+:\s*(<|$)|@ts-(ignore|nocheck)|@ts-expect-error\s*$/m.test(text)
        ? [`${path} suppresses a rule without a reason`]
        : []),
      ...(!mayExit && /process\.exit\(/.test(text) ? [`${path} ends the process`] : []),
    ]
  })
  assert.deepEqual(wrong, [])
})

test('the environment is read where programs are configured', () => {
  const readers = sources.filter((path) => !path.endsWith('.test.ts') && /\bprocess\.env\b/.test(textOf(path)))
  assert.deepEqual(
    readers.filter((path) => !mayReadEnvironment.includes(path)),
    [],
  )
})

/** Configuration, the terminal and the log of a program; and children, which inherit it. */
const mayReadEnvironment = [
  'src/app-runtime/config.ts',
  'src/base/child-program.ts',
  'src/base/failure-report.ts',
  'src/base/log-sinks.ts',
  'src/base/service-manager.ts',
  'src/cli/home.ts',
  'src/cli/live-lines.ts',
  'src/superexec/python-environment.ts',
  'src/superlink/config-database.ts',
  'src/superlink/config-storage.ts',
]

test('TLS connections are opened where no certificate can crash the program', () => {
  const wrong = sources
    .filter((path) => !path.endsWith('.test.ts') && path !== 'src/base/tls-connect.ts')
    // Runs in the browser.
    .filter((path) => !path.startsWith('src/web/page/'))
    .filter((path) =>
      /getPeerCertificate|toLegacyObject|from 'node:https'|(?<![#.\w])fetch\(|\{[^}]*\bconnect\b[^}]*\} from 'node:tls'/.test(
        textOf(path),
      ),
    )
  assert.deepEqual(wrong, ['src/base/bounded-fetch.ts'], 'use connectTls of src/base/tls-connect.ts')
})

test('packages are pinned, and each is imported somewhere', () => {
  const { dependencies: packages, devDependencies } = JSON.parse(textOf('package.json'))
  for (const [name, version] of Object.entries({ ...packages, ...devDependencies }))
    assert.match(String(version), /^\d+\.\d+\.\d+$/, name)
  const text = [...sources, ...walk('src/gen')].map(textOf).join('\n')
  const unused = Object.keys(packages).filter((name) => !new RegExp(`(?:from |import\\()['"]${name}['"/]`).test(text))
  // Node itself is no import.
  assert.deepEqual(unused, ['node'])
})

test('the package of the SDK is of the same release, with the same packages', () => {
  const [all, sdk] = ['package.json', 'packages/sdk/package.json'].map((path) => JSON.parse(textOf(path)))
  assert.equal(sdk.version, all.version)
  for (const [name, version] of Object.entries(sdk.dependencies)) assert.equal(version, all.dependencies[name], name)
})

test('links between documents lead somewhere', () => {
  const pages = [...readdirSync(root), ...walk('docs'), ...walk('examples')].filter((path) => path.endsWith('.md'))
  const broken = pages.flatMap((path) =>
    [...textOf(path).matchAll(/\]\((?!https?:)([^)#\s]+)/g)]
      .map(([, target = '']) => join(root, dirname(path), target))
      .filter((target) => !existsSync(target))
      .map((target) => `${path} links to ${target}`),
  )
  assert.deepEqual(broken, [])
  const headings = pages.flatMap((path) =>
    [...textOf(path).matchAll(/\]\((?!https?:)([^)#\s]*)#([^)\s]+)/g)]
      .filter(([, target = '']) => target === '' || target.endsWith('.md'))
      .filter(([, target = '', id = '']) => !headingIds(target === '' ? path : join(dirname(path), target)).has(id))
      .map(([link]) => `${path}: no heading ${link.slice(2)}`),
  )
  assert.deepEqual(headings, [])
})

/** The ids of the headings of a page, as GitHub makes them. */
function headingIds(path: string): Set<string> {
  const headings = textOf(path).matchAll(/^#+ (.+)$/gm)
  const idOf = (heading: string): string =>
    heading
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-')
  return new Set([...headings].map(([, heading = '']) => idOf(heading)))
}

test('everything that the SDK exports is documented, and links in comments lead to something that it exports', () => {
  const exports = [...textOf('src/sdk/index.ts').matchAll(/export (?:type )?\{([^}]*)\} from '\.(\S+)'/g)].flatMap(
    ([, names = '', path = '']) =>
      names
        .split(',')
        .map(
          (name) =>
            name
              .trim()
              .replace(/^type /, '')
              .split(' as ')[0] as string,
        )
        .filter(Boolean)
        .map((name) => ({ name, path: normalize(join('src/sdk', `.${path}`)) })),
  )
  assert.ok(exports.length > 100, `${exports.length} exports were found`)
  const bare = exports.filter(({ name, path }) => {
    const lines = textOf(path).split('\n')
    const declares = new RegExp(`^export (abstract |async )?(class|function|const|interface|type) ${name}\\b`)
    const first = lines.findIndex((line) => declares.test(line))
    // What a file passes on is documented where it is.
    return first >= 0 && !/\*\/\s*$/.test(lines[first - 1] ?? '')
  })
  assert.deepEqual(bare, [])

  const names = new Set(exports.map(({ name }) => name))
  const broken = [...new Set(exports.map(({ path }) => path))].flatMap((path) =>
    [...textOf(path).matchAll(/\{@link (\w+)/g)]
      .filter(([, name = '']) => !names.has(name))
      .map(([link]) => `${path}: ${link}`),
  )
  assert.deepEqual(broken, [])
})

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : walk(path)
    return [path]
  })
}
