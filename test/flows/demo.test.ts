import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { freePort } from '../harness/free-port.ts'
import { eventually, processesWith, programFolder, start, type TestProgram } from '../harness/program.ts'

const root = join(import.meta.dirname, '..', '..')
/** The demo gives up after five minutes. */
const endMs = 6 * 60_000
/** Beside the programs, which it finds by its own place. */
const script = join(programFolder, '..', 'scripts', 'demo.ts')

test('the demo trains to 0.90 or better over mutual TLS, rejects SuperNodes without a valid certificate, with the reason, and leaves nothing behind', async () => {
  using directory = temporaryDirectory()
  await using demo = await startDemo(directory.path, '--format', 'json')
  assert.equal(await demo.end(endMs), 0, demo.said)

  assert.match(demo.stdout, /^[^\n]+\n$/, 'one line of JSON')
  const summary = JSON.parse(demo.stdout)
  assert.deepEqual(Object.keys(summary), ['accuracy', 'rounds', 'secondsPerRound', 'refusals'])
  assert.ok(summary.accuracy >= 0.9, demo.stdout)
  assert.equal(summary.rounds, 5)
  assert.ok(summary.secondsPerRound > 0)
  const [foreign, none] = summary.refusals
  assert.match(foreign.sentence, /not signed by a CA that this SuperLink trusts \(CN=Some other CA\)/)
  assert.match(none.sentence, /requires a client certificate and none was presented/)
  assert.deepEqual([foreign.exitStatus, none.exitStatus], [1, 1])
  assertNothingLeft(directory.path)
})

test('a demo shows its training in a browser too, and stops what it started if it is interrupted in the middle', async () => {
  using directory = temporaryDirectory()
  await using demo = await startDemo(directory.path, '--dashboard')
  const [, address = ''] = await demo.line(/The dashboard of my-deployment is at (\S+)/)
  assert.equal((await fetch(address, { redirect: 'manual' })).status, 303)
  await demo.line(/ROUND 1/)
  assert.notDeepEqual(processesWith(directory.path), [], 'the programs run')
  demo.kill('SIGINT')
  assert.equal(await demo.end(), 1)
  assert.match(demo.said, /The demo was interrupted/)
  assertNothingLeft(directory.path)
})

test('the commands that the demo ends with do the same when they are pasted into a shell', async () => {
  using directory = temporaryDirectory()
  await using demo = await startDemo(directory.path)
  assert.equal(await demo.end(endMs), 0, demo.said)
  const [, commands] = demo.stdout.split(/The same by hand:\n\n/)
  assert.ok(commands, demo.stdout)

  const own = directory.file('by-hand')
  mkdirSync(own)
  writeFileSync(directory.file('commands.sh'), `trap 'kill $(jobs -p)' EXIT\ncd '${own}'\n${commands}\nwait\n`)
  const env = { TMPDIR: directory.path }
  await using shell = start('bash', [directory.file('commands.sh')], { bin: '/bin', cwd: own, env })
  await shell.end(endMs)
  const [, accuracy] = /Final test accuracy: ([\d.]+)/.exec(shell.said) ?? []
  assert.ok(Number(accuracy) >= 0.9, shell.said)
  assert.match(shell.said, /^The client certificate is not signed by a CA/m)
  assert.match(shell.said, /^This SuperLink requires a client certificate/m)
  // The SuperExec sees the end of its SuperLink within a second.
  await eventually('the end of every process', () => processesWith(directory.path).length === 0)
})

/** Its ports are of this test alone: those that it takes by itself are the same for all demos on this machine. */
async function startDemo(temporary: string, ...args: string[]): Promise<TestProgram> {
  const node = { bin: join(process.execPath, '..'), cwd: root, env: { TMPDIR: temporary } }
  const ports = [await freePort(), await freePort(), await freePort()]
  return start('node', ['--preserve-symlinks-main', script, '--ports', String(ports), ...args], node)
}

function assertNothingLeft(temporary: string): void {
  assert.deepEqual(processesWith(temporary), [], 'processes')
  // Node's cache of compiled code is for the next start.
  const files = readdirSync(temporary).filter((name) => name !== 'node-compile-cache')
  assert.deepEqual(files, [], 'files')
}
