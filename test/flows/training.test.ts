import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { countingClient, countingServer, largeModelApp } from '../harness/apps.ts'
import { asyncResult, writeAsyncApp } from '../harness/async-app.ts'
import { Deployment } from '../harness/deployment.ts'
import { peakMegabytes, writtenMegabytes } from '../harness/peak-memory.ts'
import { eventually, isAlive, type TestProgram } from '../harness/program.ts'
import { secureResult, writeSecureApp } from '../harness/secure-app.ts'

test('two SuperNodes, one of them over REST, train over mutual TLS, also with secure aggregation and asynchronously, and flwr shows it to the account that started it', async () => {
  await using deployment = await Deployment.create({ mutualTls: true })
  const rest = ['--rest', '--superlink', `https://${deployment.fleetAddress}`]
  const programs = [
    await deployment.startSupernode('node-1', ['--tag', 'region=eu']),
    await deployment.startSupernode('node-2', rest),
  ]
  const app = deployment.writeApp({
    server: countingServer,
    client: countingClient,
    config: 'rounds = 3\npause-ms = 300',
  })

  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /\[ROUND 3\/3\]/)
  assert.match(run.said, /weights: 3 13/)
  assert.match(run.said, /finished:completed/)
  // The state of a ClientApp lives from round to round.
  assert.match(run.said, /'seen': 3\.0/)

  const list = JSON.parse((await deployment.flwr('ls', '--format', 'json')).stdout)
  assert.equal(list.success, true)
  assert.equal(list.runs.length, 1)
  assert.equal(list.runs[0].status, 'finished:completed')
  assert.equal(list.runs[0]['fab-id'], 'test/testapp')
  assert.ok(list.runs[0]['network-traffic']['total-bytes'] > 0)

  const log = await deployment.flwr('log', list.runs[0]['run-id'], '--show')
  assert.match(log.stdout, /weights: 3 13/)

  const nodes = JSON.parse((await deployment.flwr('supernode', 'ls', '--format', 'json')).stdout).nodes
  assert.deepEqual(nodes.map((node: { identity: string }) => node.identity).sort(), ['node-1', 'node-2'])
  for (const node of nodes) {
    assert.equal(node['auth-method'], 'certificate')
    assert.equal(node.status, 'online')
    assert.match(node['certificate-serial'], /^[0-9A-F]+$/)
    assert.match(node['certificate-expires-at'], /^\d{4}-/)
  }

  const secure = writeSecureApp(deployment.directory.file('secure'), { client: 'typescript', nodes: 2 })
  const hidden = await deployment.flwr('run', secure, '--stream')
  assert.match(hidden.said, secureResult)
  assert.match(hidden.said, /secure aggregation, unmask: 2 of 2 nodes/)

  const unhurried = writeAsyncApp(deployment.directory.file('unhurried'), { client: 'typescript', nodes: 2 })
  const asynchronous = await deployment.flwr('run', unhurried, '--stream')
  assert.match(asynchronous.said, asyncResult)
  assert.match(asynchronous.said, /node node-1 of : \{"region":"eu"\}, online, seen true/)
  assert.match(asynchronous.said, /node node-2 of : \{\}, online, seen true/)
  for (const { said } of programs) assert.doesNotMatch(said, /WARNING|ERROR/, 'the end of a run is no fault')
})

/** One for the tests below, which take their turns at it. */
let deployment: Deployment
let supernodes: TestProgram[]
before(async () => {
  deployment = await Deployment.create()
  supernodes = await Promise.all([deployment.startSupernode('node-1'), deployment.startSupernode('node-2')])
})
after(() => deployment[Symbol.asyncDispose]())

test('a model of 250 MB passes SuperLink and SuperNode, both ways, in much less memory than it has', async () => {
  const programs = [deployment.superlink, ...supernodes].map(({ pid }) => ({ pid, before: peakMegabytes(pid) }))
  const writtenBefore = supernodes.map(({ pid }) => writtenMegabytes(pid))
  const floats = 250 * 250_000
  const app = deployment.writeApp({ ...largeModelApp, config: `floats = ${floats}` })
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, new RegExp(`last value: ${-Math.fround(floats - 1)}`))
  const grown = programs.map(({ pid, before }) => Math.round(peakMegabytes(pid) - before))
  assert.ok(Math.max(...grown) < 160, `SuperLink and SuperNodes grew by ${grown.join(', ')} MB`)
  // Once to the disk and once to the SuperLink: the app reads and writes files itself.
  const written = supernodes.map(({ pid }, index) => writtenMegabytes(pid) - (writtenBefore[index] ?? 0))
  assert.ok(Math.max(...written) < 2.5 * 250, `SuperNodes wrote ${written.join(', ')} MB`)
})

test('app processes are there before the run, stay warm from round to round and are gone when it has ended', async () => {
  // The last run had a ServerApp and one ClientApp.
  const ready = await eventually('processes that wait for a run', () => {
    const found = deployment.children('flwr-', { ready: true })
    return found.length === 2 && found
  })
  const app = deployment.writeApp({
    server: countingServer,
    client: countingClient,
    config: 'rounds = 3\npause-ms = 300',
  })
  const run = deployment.start('flwr', ['run', app, '--stream'])
  const processes = await eventually('the app processes', () => {
    const found = [...deployment.children('flwr-clientapp'), ...deployment.children('flwr-serverapp')]
    return found.length === 3 && found
  })
  assert.ok(ready.every((pid) => processes.includes(pid)))
  assert.equal(await run.end(), 0, run.said)
  await run.heard()
  const pids = [...run.said.matchAll(/'pid': ([\d.]+)/g)].map(([, pid]) => pid)
  assert.equal(pids.length, 3)
  // The mean of the two process ids stays the same: no round had a process of its own.
  assert.equal(new Set(pids).size, 1)
  await eventually('the end of the app processes', () => processes.every((pid) => !isAlive(pid)))
})

test('a run that is stopped ends at once, with its processes', async () => {
  const app = deployment.writeApp({
    server: countingServer,
    client: countingClient,
    config: 'rounds = 50\npause-ms = 300',
  })
  const started = JSON.parse((await deployment.flwr('run', app, '--format', 'json')).stdout)
  const follower = deployment.start('flwr', ['log', started['run-id'], '--stream'])
  await follower.line(/\[ROUND 2\/50\]/)
  const clients = await eventually('client processes', () => {
    const found = deployment.children('flwr-clientapp')
    return found.length === 2 && found
  })

  const stopped = JSON.parse((await deployment.flwr('stop', started['run-id'], '--format', 'json')).stdout)
  assert.deepEqual(stopped, { success: true, 'run-id': started['run-id'] })
  assert.equal(await follower.end(), 0)
  await eventually('the end of the app processes', () => clients.every((pid) => !isAlive(pid)))
  const { runs } = JSON.parse((await deployment.flwr('ls', '--format', 'json')).stdout)
  assert.equal(runs[0].status, 'finished:stopped')
  const again = await deployment.flwr('stop', started['run-id'])
  assert.equal(again.status, 1)
  assert.match(again.said, /already finished/)
})

test('Ctrl-C leaves the log of a run and prints how to come back', async () => {
  const app = deployment.writeApp({
    server: countingServer,
    client: countingClient,
    config: 'rounds = 4\npause-ms = 200',
  })
  const run = deployment.start('flwr', ['run', app, '--stream'])
  await run.line(/\[ROUND 1\/4\]/)
  run.kill('SIGINT')
  assert.equal(await run.end(), 0)
  const [, runId = ''] = /To come back: flwr log (\d+) test/.exec(run.said) ?? []
  assert.match(run.said, new RegExp(`flwr stop ${runId} test`))
  const follower = await deployment.flwr('log', runId, '--stream')
  assert.equal(follower.status, 0)
  assert.match(follower.said, /weights: 4 14/)
})
