import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join, normalize, relative } from 'node:path'
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
  fab: base,
  objects: [...base, 'db'],
  message: [...base, 'objects'],
  tasks: [...base, 'db', 'identity', 'rpc', 'objects', 'message'],
  sdk: [...base, 'message'],
  'app-runtime': [...base, 'rpc', 'identity', 'fab', 'objects', 'message', 'sdk'],
  superexec: [...base, 'identity', 'rpc', 'fab'],
  supernode: [...base, 'db', 'identity', 'rpc', 'fab', 'objects', 'message', 'tasks'],
  superlink: [...base, 'db', 'identity', 'rpc', 'fab', 'objects', 'message', 'tasks'],
  cli: [...base, 'identity', 'rpc', 'fab', 'message'],
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
  for (const path of [...sources, ...walk('test'), ...walk('scripts')]) {
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

test('TypeScript stays erasable, processes end in one place, and markers name an issue', () => {
  const wrong = sources.flatMap((path) => {
    const text = textOf(path)
    const mayExit = path === 'src/start.ts' || path === 'src/base/program.ts' || path.endsWith('.test.ts')
    return [
      ...(/^\s*(export )?(const )?enum /m.test(text) ? [`${path} has an enum`] : []),
      ...(/TODO(?!\(#\d+\))|FIXME|XXX/.test(text) ? [`${path} has a marker without an issue`] : []),
      ...(!mayExit && /process\.exit\(/.test(text) ? [`${path} ends the process`] : []),
    ]
  })
  assert.deepEqual(wrong, [])
})

test('every test asserts, and none is skipped without a reason', () => {
  const tests = [...sources, ...walk('test'), ...walk('examples')].filter((path) => path.endsWith('.test.ts'))
  const silent = tests.filter((path) => !textOf(path).includes('assert.'))
  const skipped = tests.filter((path) =>
    /skip: (true|')|\b(test|it)\.(skip|only|todo)\b/.test(textOf(path).replaceAll(ownRule, '')),
  )
  assert.deepEqual({ silent, skipped }, { silent: [], skipped: [] })
})

/** This file names what it forbids. */
const ownRule = /^.*skipped = tests.*$/gm

test('every exported class and function of the SDK is documented', () => {
  const bare = sources
    .filter((path) => path.startsWith('src/sdk/') && !path.endsWith('.test.ts'))
    .flatMap((path) => {
      const lines = textOf(path).split('\n')
      return lines
        .map((line, index) => ({ line, where: `${path}:${index + 1}`, above: lines[index - 1] ?? '' }))
        .filter(
          ({ line, above }) =>
            /^export (abstract )?(class|function|async function) /.test(line) && !/\*\/\s*$/.test(above),
        )
        .map(({ where }) => where)
    })
  assert.deepEqual(bare, [])
})

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : walk(path)
    return [path]
  })
}
