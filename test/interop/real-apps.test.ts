import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { writeMixedApp } from '../harness/python-apps.ts'
import { type AppEnvironment, pythonOf, withoutPython } from '../harness/python-flower.ts'

/** Apps as data scientists write them with Flower's own SDK, on our SuperLink and three of our SuperNodes. */
const folder = join(import.meta.dirname, 'apps')
const rounds = 3

/** What each app must print; the numbers are worked out apart from it. */
const expected: Record<string, (said: string) => void> = {
  regression(said) {
    const script = join(folder, 'regression', 'expected.py')
    const told = numbers(execFileSync(pythonOf('apps'), [script, String(rounds)], { encoding: 'utf8' }), /accuracy=.*/)
    const trained = numbers(said, /accuracy=.*/)
    assert.ok(told[0] !== undefined && told[0] > 0.85, `${told}`)
    for (const [index, value] of told.entries()) assert.ok(Math.abs((trained[index] ?? 0) - value) < 1e-6, said)
  },
  boosting(said) {
    const [trees, , area = 0] = numbers(said, /trees=.*/)
    assert.equal(trees, 3 * rounds)
    assert.ok(area > 0.97, said)
  },
  mods(said) {
    const traces = [...said.matchAll(/trace: (.*)/g)].map(([, trace]) => trace).sort()
    const trace = (partition: number): string => `server >outer >inner >own ${partition} <own <inner <outer`
    assert.deepEqual(traces, [0, 1, 2].map(trace))
  },
  'secure-sum'(said) {
    // Two rounds, each adds the mean of 1, 2 and 3 weighted by themselves: 14 / 6.
    const values = numbers(said, /mean: .*/)
    for (const [index, start] of [0.5, -1.5].entries())
      assert.ok(Math.abs((values[index] ?? 0) - (start + 14 / 3)) < 1e-4, said)
  },
  'private-mean'(said) {
    // The steps (0.3, 0.4), (3, 4) and (-6, 8), none longer than 1 after clipping.
    for (const who of ['server fixed', 'nodes fixed', 'server adaptive', 'nodes adaptive'])
      assert.deepEqual(numbers(said, new RegExp(`${who}: .*`)), [10.1, 20.666667], said)
    assert.match(said, /noise differs: True/)
  },
}

const environments: readonly { python: AppEnvironment; apps: readonly string[] }[] = [
  { python: 'apps', apps: Object.keys(expected) },
  { python: '1.29', apps: ['mods', 'secure-sum', 'private-mean'] },
]

describe('real apps', { concurrency: 2, skip: withoutPython }, () => {
  for (const { python, apps } of environments) {
    test(`${apps.join(', ')} end as they must, run by ${python === 'apps' ? '1.41' : python}`, async (context) => {
      await using fleet = await MixedFleet.create({ superlink: 'trellis', python })
      await Promise.all(
        [0, 1, 2].map((part) => fleet.startSupernode('trellis', ['--node-config', `partition=${part}`])),
      )
      for (const name of apps) {
        await context.test(name, async () => {
          const source = (role: string): string => readFileSync(join(folder, name, `${role}.py`), 'utf8')
          const app = writeMixedApp(fleet.directory.file(name), {
            server: { language: 'python', source: source('server') },
            client: { language: 'python', source: source('client') },
            config: `rounds = ${rounds}`,
          })
          const run = await fleet.flwr('trellis', ['run', app, '--stream'])
          assert.equal(run.status, 0, run.said)
          expected[name]?.(run.said)
        })
      }
      const typescript = python === 'apps' ? 'server' : 'client'
      await context.test(`secure-sum with the ${typescript} in TypeScript`, async () => {
        const component = (role: 'server' | 'client') => {
          const [language, ending] = role === typescript ? (['typescript', 'ts'] as const) : (['python', 'py'] as const)
          return { language, source: readFileSync(join(folder, 'secure-sum', `${role}.${ending}`), 'utf8') }
        }
        const app = writeMixedApp(fleet.directory.file(`secure-sum-${typescript}`), {
          server: component('server'),
          client: component('client'),
        })
        const run = await fleet.flwr('trellis', ['run', app, '--stream'])
        assert.equal(run.status, 0, run.said)
        expected['secure-sum']?.(run.said)
      })
    })
  }
})

/** The numbers in the first line that fits. */
function numbers(said: string, line: RegExp): number[] {
  return [...(line.exec(said)?.[0] ?? '').matchAll(/-?\d+(\.\d+)?(?![\w.])/g)].map(([text]) => Number(text))
}
