import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { temporaryDirectory } from './harness/directory.ts'

test('files of all queues run, each is reported as a whole, and one failure fails them all', () => {
  using directory = temporaryDirectory()
  const write = (name: string, source: string): string => {
    writeFileSync(directory.file(name), `import { test } from 'node:test'\n${source}`)
    return directory.file(name)
  }
  const nested = (name: string): string =>
    `test('${name}', { skip: process.title !== 'own' && 'no argument of its queue' }, async (t) => { await t.test('${name} within', () => new Promise(setImmediate)) })`
  const lanes = `
    import { writeFileSync } from 'node:fs'
    import { runInLanes } from '${pathToFileURL(join(import.meta.dirname, '..', 'scripts', 'test-lanes.ts')).href}'
    const first = {
      files: ${JSON.stringify([write('one.test.mjs', nested('one')), write('two.test.mjs', nested('two'))])},
      execArgv: ['--title=own'],
    }
    const second = { files: ${JSON.stringify([write('fails.test.mjs', "test('fails', () => { throw new Error('on purpose') })")])} }
    const lanes = [{ count: 1, queues: [second, first] }, { count: 1, queues: [first, second] }]
    process.exitCode = await runInLanes(lanes, []) ? 0 : 7`
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(process.execPath, [write('lanes.mjs', lanes)], { env, encoding: 'utf8' })
  assert.equal(status, 7, stderr)
  for (const name of ['one', 'two']) assert.match(stdout, new RegExp(`▶ ${name}\\n  ✔ ${name} within .*\\n✔ ${name} `))
  assert.match(stdout, /✖ fails .*[\s\S]*ℹ tests 5\n/)
  assert.match(stdout, /ℹ pass 4\nℹ fail 1\n/)
  assert.equal(stdout.match(/ℹ tests /g)?.length, 1)
  assert.match(stdout, /✖ failing tests:[\s\S]*on purpose/)
})
