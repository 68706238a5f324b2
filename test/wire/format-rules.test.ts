import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { findFormatFault } from '../../src/fab/format-rules.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { pythonOf, withoutReleases } from '../harness/python-flower.ts'
import { randomFrom } from '../harness/random.ts'

const projects = 1000

/** Versions near each other, in every form that PEP 440 has, and some that it has not. */
function versionFrom(random: (below: number) => number, isNamed: boolean): string {
  const one = (...items: string[]): string => items[random(items.length)] as string
  const release = one('1', '1.0', '1.29', '1.29.0', '1.29.1', '1.30', '1.29.0.0', '2', '0.29')
  const wildcard = isNamed && random(5) === 0 ? '.*' : ''
  if (random(3) > 0 || wildcard) return one('', '', '', 'v', '1!') + release + wildcard
  const pre = one('', '', 'a1', 'b', '-rc.2', '.preview_3', 'c2', 'ALPHA1', 'rc2')
  const post = one('', '', '', '.post1', '-1', 'rev2', '.R', '-post', '_post_3')
  const dev = one('', '', '', '.dev20261026', 'dev', '-DEV1')
  const local = isNamed && random(4) > 0 ? '' : one('', '', '', '+cu12', '+1', '+1.a', '+A_b-2', '+01')
  const broken = random(40) === 0 ? one('x', ' 1', '..', '+', '-') : ''
  return release + pre + post + dev + local + broken
}

function projectFrom(random: (below: number) => number) {
  const one = <T>(...items: T[]): T => items[random(items.length)] as T
  // Python's library cuts what follows `~=` as text, and misreads forms that are not the normal one.
  const normal = (): string => one('1.0', '1.29', '1.29.0', '1.29.1rc2', '1.29.0.post1', '1.30.dev1', '1!1.29', '2')
  const condition = (operator: string): string =>
    `${operator}${one('', ' ')}${operator === '~=' ? normal() : versionFrom(random, true)}`
  const conditions = Array.from({ length: random(3) }, () => condition(one('>=', '<', '<=', '>', '==', '!=', '~=')))
  // Python's library takes all that follows `===` for a version, so it comes last.
  if (random(12) === 0) conditions.push(condition('==='))
  if (random(6) > 0) conditions.unshift(`>=${versionFrom(random, false)}`)
  const requirement = `flwr${one('', '[simulation]', ' ')}${conditions.join(one(',', ', ', ' ,'))}`
  return {
    project: { license: { file: 'LICENSE' }, dependencies: ['numpy>=1', requirement] },
    app: {
      'fab-format-version': one(0, 1, 1, 1, 1, 1),
      'flwr-version-target': random(30) === 0 ? one<unknown>('', 'latest', 1, true) : versionFrom(random, false),
    },
  }
}

/** What both say, in common words. */
const kinds: readonly (readonly [string, RegExp])[] = [
  ['no version', /Invalid \[tool.flwr.app\].flwr-version-target: (expected a valid version|".*" is no version)/s],
  ['no text', /flwr-version-target: expected a string/],
  ['missing', /Missing \[tool.flwr.app\].flwr-version-target/],
  ['below the bound', /flwr-version-target: (must be greater|lower than the lower bound)/],
  ['outside', /flwr-version-target: (must satisfy|it does not meet)/],
  ['no bound', /Invalid "flwr" dependency specifier/],
  ['no requirement', /Invalid dependency declaration/],
  ['builds', /^$/],
]

const kindOf = (text: string): string => kinds.find(([, pattern]) => pattern.test(text))?.[0] ?? text

for (const release of ['1.29', '1.43'] as const) {
  const options = { skip: withoutReleases(release) }
  test(`the versions that an app names are compared as Flower ${release} compares them`, options, async (t) => {
    using directory = temporaryDirectory()
    const random = randomFrom(29)
    const corpus = Array.from({ length: projects }, () => projectFrom(random))
    const file = directory.file('projects.json')
    writeFileSync(file, JSON.stringify(corpus.map(({ project, app }) => ({ project, tool: { flwr: { app } } }))))
    const { stdout } = await promisify(execFile)(
      pythonOf(release),
      [`${import.meta.dirname}/python/versions.py`, file],
      {
        maxBuffer: 16 * 1024 * 1024,
      },
    )
    const said = stdout.trim().split('\n')
    const counts = new Map<string, number>()
    const differences = corpus.flatMap(({ project, app }, index) => {
      const flower = JSON.parse(said[index] as string) as string
      // `===` may name what is no version: Flower stops with the error of its library.
      if (flower.startsWith('InvalidVersion')) return []
      const table = { ...app, 'fab-format-version': BigInt(app['fab-format-version']) }
      const ours = findFormatFault(project, table as Parameters<typeof findFormatFault>[1]) ?? ''
      counts.set(kindOf(flower), (counts.get(kindOf(flower)) ?? 0) + 1)
      if (kindOf(ours) === kindOf(flower)) return []
      return [`${app['flwr-version-target']} with ${project.dependencies[1]}: Flower: ${flower}; ours: ${ours}`]
    })
    t.diagnostic([...counts].map(([kind, count]) => `${count} ${kind}`).join(', '))
    assert.deepEqual(differences.slice(0, 20), [])
    assert.ok(kinds.every(([kind]) => kind === 'missing' || (counts.get(kind) ?? 0) > 5))
  })
}
