import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { programEnds } from '../scripts/program-ends.ts'
import { slowest } from '../scripts/slow-tests.ts'
import { withoutTemplateText } from './harness/source-code.ts'

/** The rules for tests that a machine can check. */

const root = join(import.meta.dirname, '..')
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8')
const files = ['src', 'test', 'examples', 'bench'].flatMap(walk).filter((path) => path.endsWith('.ts'))
const own = 'test/tidy-tests.test.ts'
const testFiles = files.filter((path) => path.endsWith('.test.ts') && path !== own)
const helperFiles = files.filter((path) => path.startsWith('test/') && !path.endsWith('.test.ts'))

interface TestBlock {
  readonly where: string
  /** With `…` in place of what a template fills in. */
  readonly name: string
  readonly text: string
}

/** The lines of a file without texts such as the source of an app, whose lines look like those of the test. */
const codeLines = (path: string): string[] => withoutTemplateText(textOf(path)).split('\n')

/** The tests of a file. The formatter puts the end of each under its beginning. */
function testsOf(path: string): TestBlock[] {
  const all = textOf(path).split('\n')
  const lines = codeLines(path)
  return lines.flatMap((line, start) => {
    const [, indent] = /^(\s*)(?:await )?(?:\w+\.)?test\(/.exec(line) ?? []
    if (indent === undefined) return []
    const length = lines.slice(start + 1).findIndex((next) => next.startsWith(`${indent}}`) && next.endsWith(')'))
    // A test on one line ends where it begins.
    const isOneLine = /^\s*(?:await )?test\(.*\)$/.test(line)
    const end = isOneLine ? start + 1 : start + 2 + length
    const text = lines.slice(start, end).join('\n')
    const written = all.slice(start, end).join('\n')
    const [, , name = ''] = /test\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/.exec(written) ?? []
    return [{ where: `${path}:${start + 1}`, name: name.replace(/\$\{[^}]*\}/g, '…').replaceAll("\\'", "'"), text }]
  })
}

const allTests = testFiles.flatMap(testsOf)

/** Functions of this file in whose body something is asserted, or thrown if it does not come true. */
function assertingFunctions(path: string): string[] {
  const lines = codeLines(path)
  return lines.flatMap((line, start) => {
    const declared =
      /^(\s*)(?:export )?(?:async )?(?:function\*? |const |static (?:async )?|async )?(\w+)(?: = |\(|<)/.exec(line)
    if (!declared) return []
    const [, indent = '', name = ''] = declared
    const end = lines
      .slice(start + 1)
      .findIndex((next) => next.length > indent.length && !/^\s/.test(next.slice(indent.length)))
    const body = lines.slice(start, end === -1 ? undefined : start + 2 + end).join('\n')
    return /\bassert\b|throw new|reject\(/.test(body) && !/^(test|describe)$/.test(name) ? [name] : []
  })
}

const harness = helperFiles.flatMap(assertingFunctions)

test('every test asserts something', () => {
  assert.ok(allTests.length > 500, `${allTests.length} tests were found`)
  const silent = allTests.filter(({ where, text }) => {
    if (/\bassert\b/.test(text)) return false
    const path = where.split(':')[0] as string
    const asserting = new Set([...assertingFunctions(path), ...harness])
    return ![...text.matchAll(/\b(\w+)\(/g)].some(([, name = '']) => asserting.has(name))
  })
  assert.deepEqual(
    silent.map(({ where, name }) => `${where} ${name}`),
    [],
  )
})

test('no test is skipped without a reason', () => {
  const skipped = testFiles.filter((path) => /skip: (true|')|\b(test|it)\.(skip|only|todo)\b/.test(textOf(path)))
  assert.deepEqual(skipped, [])
})

test('what mutual TLS must do is shown by tests that are there', () => {
  const rows = [...textOf('docs/reference/mutual-tls-tests.md').matchAll(/^\| .* \| `([^`]+\.test\.ts)`: (.+) \|$/gm)]
  assert.ok(rows.length > 50, `${rows.length} rows`)
  const missing = rows.filter(
    ([, path = '', name = '']) => !allTests.some((one) => one.where.startsWith(`${path}:`) && one.name === name),
  )
  assert.deepEqual(
    missing.map(([, path, name]) => `${path}: ${name}`),
    [],
  )
})

test('each event that could end a program is shown by a test that is there', () => {
  const known = new Set(allTests.map(({ where, name }) => `${where.split(':')[0]}: ${name}`))
  assert.deepEqual(
    programEnds.map(({ shownBy }) => shownBy).filter((shownBy) => !known.has(shownBy)),
    [],
  )
})

/** Waits of a fixed length. A loop that looks again after a pause is written with `eventually` of the harness. */
const fixedSleep = /\b(?:setTimeout\(\s*(?:resolve|done)\b|(?:await|race\(\[.*) delay\(|\bsleep\(\d)/

/** Files that may sleep, how often, and why. Add to it only what cannot be seen in another way. */
const sleeps: Readonly<Record<string, readonly [count: number, reason: string]>> = {
  'test/harness/program.ts': [1, 'the pause of `eventually`'],
  'test/faults/secrets.test.ts': [1, 'its ClientApp looks for a file again'],
  'test/harness/apps.ts': [2, 'apps: one works for a while, one looks for nodes again after a pause'],
  'test/harness/attacks.ts': [1, 'hostile clients that pause between their attempts'],
  'test/flows/simulation.test.ts': [1, 'an app that works for a while'],
  'test/interop/apps-under-python.test.ts': [1, 'an app that asks for nodes again after a pause'],
  'test/interop/as-upstream.test.ts': [1, 'an app that does nothing until it is killed'],
  'test/interop/faults-at-ours.test.ts': [1, 'an app that looks for nodes again after a pause'],
  'test/interop/silence-under-python.test.ts': [1, 'an app that is slower than the time to live of its message'],
  'test/interop/unprompted.test.ts': [5, 'an app and a SuperNode that look again after a pause, as those of Flower do'],
  'src/superexec/python-fork-server.test.ts': [1, 'a program that does nothing until it is killed'],
  'src/rpc/listener-bounds.test.ts': [2, 'clients that are slow'],
  'test/engines/standby.test.ts': [1, 'a database that is cut off for ten seconds'],
  'test/faults/lost-machine.test.ts': [1, 'its ClientApp looks for a file again'],
  'test/faults/tls-abuse.test.ts': [1, 'a client that calls again and again while others open connections'],
  'test/faults/crowd.test.ts': [3, 'a SuperLink that is stopped, and runs and pauses in turns'],
  'test/faults/http-peers.test.ts': [4, 'calls that are held before what they wait for happens'],
  'test/crash/crash-fleet.ts': [1, 'kills come at random moments'],
  'test/crash/apps.ts': [2, 'apps: one works for a while, one looks for nodes again after a pause'],
  'test/soak/soak.ts': [2, 'a federation that lives for a set time, and an app that pauses between its rounds'],
  'test/flows/tls-reload.test.ts': [1, 'renewals that come one after the other'],
}

test('tests wait for what they are about, not for a time', () => {
  const counted = [...testFiles, ...helperFiles].flatMap((path) => {
    const count = textOf(path)
      .split('\n')
      .filter((line) => fixedSleep.test(line)).length
    const allowed = sleeps[path]?.[0] ?? 0
    return count === allowed ? [] : [`${path} sleeps ${count} times; allowed are ${allowed}`]
  })
  assert.deepEqual(counted, [])
})

test('the files that start first exist', () => {
  assert.deepEqual(
    slowest.filter((name) => !existsSync(join(root, 'test', `${name}.test.ts`))),
    [],
  )
})

test('what is drawn by chance in tests can be drawn again', () => {
  const random = /Math\.random\(|\b(randomInt|randomUUID|getRandomValues)\(/
  const mayDraw: Readonly<Record<string, string>> = {
    'test/harness/step-ca.ts': 'step-ca wants another id for each of its tokens',
  }
  const unseeded = [...testFiles, ...helperFiles, ...files.filter((path) => path.startsWith('bench/'))].filter(
    (path) => random.test(textOf(path)) && !(path in mayDraw),
  )
  assert.deepEqual(unseeded, [])
})

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : walk(path)
    return [path]
  })
}
