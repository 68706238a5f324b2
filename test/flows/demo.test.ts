import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { processesWith, start } from '../harness/program.ts'

const root = join(import.meta.dirname, '..', '..')

test('the demo trains to 0.90 or better over mutual TLS, refuses strangers with the reason, and leaves nothing behind', async () => {
  using directory = temporaryDirectory()
  const node = { bin: join(process.execPath, '..'), cwd: root, env: { TMPDIR: directory.path } }
  await using demo = start('node', ['scripts/demo.ts', '--format', 'json'], node)
  assert.equal(await demo.end(120_000), 0, demo.said)

  const summary = JSON.parse(demo.stdout)
  assert.ok(summary.accuracy >= 0.9, demo.stdout)
  assert.equal(summary.rounds, 5)
  assert.ok(summary.secondsPerRound > 0)
  const [foreign, none] = summary.refusals
  assert.match(foreign.sentence, /not signed by a CA that this SuperLink trusts \(CN=Some other CA\)/)
  assert.match(none.sentence, /requires a client certificate and none was presented/)
  assert.deepEqual([foreign.exitStatus, none.exitStatus], [1, 1])
  assert.deepEqual(processesWith(directory.path), [])
})
