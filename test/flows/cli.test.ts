import assert from 'node:assert/strict'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { countingClient, countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { addedKeys, jsonShape } from '../harness/json-shape.ts'
import { opensshPublicKey } from '../harness/openssh.ts'
import { run } from '../harness/program.ts'
import { runPythonFlwr } from '../harness/python-flower.ts'

/** One for all tests, which take their turns at it. */
const deployment = await Deployment.create()
after(() => deployment[Symbol.asyncDispose]())
await Promise.all([deployment.startSupernode('node-1'), deployment.startSupernode('node-2')])

test('what flwr new writes runs as it is, and every command tells of it', async () => {
  assert.equal((await deployment.flwr('new', 'my-app', '--publisher', 'someone')).status, 0)
  const ran = await deployment.flwr('run', 'my-app', '--stream', '--run-config', 'num-server-rounds=2')
  assert.equal(ran.status, 0, ran.said)
  assert.match(ran.stdout, /Final line: slope = 2\.9/)
  // Each fact once, in the order of the log.
  const facts = ran.stdout.match(/\[ROUND \d\/2\]|aggregate_\w+: Received|>> .* done/g)
  const round = ['aggregate_train: Received', 'aggregate_evaluate: Received']
  assert.deepEqual(facts, ['[ROUND 1/2]', ...round, '[ROUND 2/2]', ...round])
  assert.match(ran.stdout, /^Run \d+ finished:completed$/m)
  // Not a terminal: nothing is redrawn or coloured.
  assert.equal(stripVTControlCharacters(ran.stdout).replaceAll('\r', ''), ran.stdout)
  const [, runId = ''] = /Successfully started run (\d+)/.exec(ran.stdout) ?? []

  const log = await deployment.flwr('log', runId)
  assert.equal(log.status, 0)
  assert.match(log.stdout, /^INFO :\s+Starting FedAvg/)
  assert.doesNotMatch(log.stdout, /finished:|>> /)
  assert.match(log.said, /finished:completed/)
  assert.equal((await deployment.flwr('log', runId, 'test', '--show')).stdout, log.stdout)
  const document = JSON.parse((await deployment.flwr('log', runId, '--format', 'json')).stdout)
  assert.deepEqual(document, { success: true, 'run-id': runId, status: 'finished:completed', log: log.stdout })
  assert.match(
    (await deployment.flwr('whoami')).stdout,
    /^Identity +none: this SuperLink requires no client certificate/m,
  )

  const table = await deployment.flwr('ls')
  assert.match(table.stdout, new RegExp(`^${runId} +@none/default +@someone/my-app==1.0.0 +finished:completed`, 'm'))
  const details = await deployment.flwr('ls', '--run-id', runId)
  assert.match(details.stdout, /^FAB Hash +[0-9a-f]{8}\.\.\.[0-9a-f]{8}$/m)
  assert.match(details.stdout, /^Network Traffic \(total\) +[\d.]+ KB$/m)

  const { nodes } = JSON.parse((await deployment.flwr('supernode', 'ls', '--format', 'json')).stdout)
  assert.deepEqual(
    nodes.map((node: Record<string, string>) => [node.status, node['auth-method'], node.identity]),
    [
      ['online', 'key', null],
      ['online', 'key', null],
    ],
  )
  const federation = await deployment.flwr('federation', 'show', '@none/default')
  assert.match(federation.stdout, new RegExp(`^${nodes[0]['node-id']} +none +online$`, 'm'))
  assert.match(federation.stdout, new RegExp(`^${runId} +@someone/my-app`, 'm'))

  const built = await deployment.flwr('build', '--app', 'my-app')
  const [fab = ''] = /\S+\.fab/.exec(built.stdout) ?? []
  const elsewhere = { cwd: deployment.directory.path, env: { FLWR_HOME: deployment.directory.file('elsewhere') } }
  const installed = await run('flwr', ['install', fab], elsewhere)
  const [, folder = ''] = /Successfully installed my-app to (\S+)\.\n/.exec(installed.stdout) ?? []
  assert.ok(existsSync(join(folder, 'my-app', 'server-app.ts')), installed.said)
  assert.match((await run('flwr', ['install', fab], elsewhere)).stdout, /is installed already/)
  const again = JSON.parse((await run('flwr', ['install', fab, '--format', 'json'], elsewhere)).stdout)
  assert.deepEqual(again, { success: true, name: 'my-app', directory: folder, 'newly-installed': false })
  renameSync(deployment.directory.file(fab), deployment.directory.file('a.b.1-0-0.01234567.fab'))
  const exchanged = await deployment.flwr('install', 'a.b.1-0-0.01234567.fab')
  assert.equal(exchanged.status, 1)
  assert.match(exchanged.said, /was changed after it was built/)
})

test('a run that fails fails the command that follows it, and says why', async () => {
  const server = `import { ServerApp } from 'trellis-fl'
    export const app = new ServerApp().main(() => { throw new Error('out of \\x1b[31mpatients') })`
  const app = deployment.writeApp({ server, client: countingClient })
  const followed = await deployment.flwr('run', app, '--stream')
  assert.equal(followed.status, 1)
  assert.match(followed.stdout, /^Run \d+ finished:failed: .*out of patients/m)
  // The document is about the start; the status is about the end.
  const quiet = await deployment.flwr('run', app, '--stream', '--format', 'json')
  assert.equal(quiet.status, 1)
  assert.equal(JSON.parse(quiet.stdout).success, true)
  const log = await deployment.flwr('log', JSON.parse(quiet.stdout)['run-id'])
  assert.equal(log.status, 0)
  assert.match(log.said, /finished:failed/)
})

test('every refusal has the exit status of Flower, one sentence, and a document with --format json', async () => {
  writeFileSync(deployment.directory.file('not-a-key.pub'), 'nonsense')
  const app = deployment.writeApp({ server: countingServer, client: countingClient, config: 'rounds = 1' })
  const refusals: readonly (readonly [string, 1 | 2, RegExp])[] = [
    ['ls --run-id 5', 1, /The run was not found/],
    ['ls --run-id 5 --limit 1', 1, /'--run-id' and '--limit' cannot be used together/],
    ['ls nowhere', 1, /There is no connection 'nowhere' in .*config\.toml/],
    ['stop 5', 1, /The run was not found/],
    ['supernode unregister 5', 1, /The SuperNode was not found/],
    ['supernode register nothing.pub', 1, /nothing\.pub cannot be read/],
    ['federation list --federation @a/b', 1, /Federation '@a\/b' does not exist/],
    ['federation show @a/b', 1, /Federation '@a\/b' does not exist/],
    ['federation create x', 1, /does not support federation management/],
    [`run ${app} --run-config roonds=1`, 1, /the app has no key 'roonds'/],
    [`run ${app} --federation x`, 1, /--federation must have the form/],
    [`run ${app} --federation @a/b`, 1, /Federation not found/],
    [`run ${app} --federation-config foo=1`, 1, /'foo' is unknown/],
    ['run nothing', 1, /There is no app in .*nothing/],
    ['run @someone/app', 1, /Flower Hub/],
    ['build --app nothing', 1, /There is no app in .*nothing/],
  ]
  const plain: typeof refusals = [
    ['run test', 1, /flwr run \. test/],
    ['install nothing.fab', 1, /nothing\.fab cannot be read/],
    ['supernode register not-a-key.pub', 1, /Exit Code: 500/],
    ['login', 1, /logging in needs TLS/],
    ['pull 5', 1, /does not support flwr pull/],
    ['log 5', 1, /The run was not found/],
    ['app publish', 1, /Flower Hub/],
    ['new 1st', 1, /cannot be the name of an app/],
    ['new', 2, /flwr new needs a name/],
    ['ls --limit 0', 2, /--limit must be a whole number of at least 1/],
    ['ls --run-id x', 2, /--run-id must be a whole number/],
    ['ls --format xml', 2, /--format must be default or json, not 'xml'/],
    ['ls --nope', 2, /flwr list: unknown option '--nope'\.\nTry 'flwr list --help'/],
    ['stop', 2, /flwr stop: missing required argument 'run-id'/],
    ['stop 18446744073709551616', 2, /below 2\^64/],
    ['nope', 2, /unknown command 'nope'/],
    ['supernode', 2, /Usage: flwr supernode/],
    ['', 2, /Usage: flwr /],
  ]
  const flwr = (line: string) => deployment.flwr(...line.split(' ').filter((word) => word !== ''))
  // One function writes the sentence of all: those that are checked in a document need not be read again without one.
  for (const [line, status, sentence] of [...refusals.slice(0, 3), ...plain]) {
    const refused = await flwr(line)
    assert.match(refused.said, sentence, line)
    assert.equal(refused.status, status, line)
    assert.doesNotMatch(refused.said, /bug|\n {4}at /, line)
  }
  for (const [line, status, sentence] of refusals) {
    const refused = await flwr(`${line} --format json`)
    assert.equal(refused.status, status, line)
    const document = JSON.parse(refused.stdout)
    assert.deepEqual(Object.keys(document), ['success', 'error-message'], line)
    assert.equal(document.success, false)
    assert.match(document['error-message'], sentence)
    assert.equal(refused.said, refused.stdout, line)
  }
  const shown = await flwr('log 5 --show')
  assert.equal(shown.status, 1)
  assert.match(shown.said, /The run was not found/)
})

test('a SuperNode is registered by its public key, once, and unregistered for good', async () => {
  writeFileSync(deployment.directory.file('node.pub'), opensshPublicKey())
  const registered = await deployment.flwr('supernode', 'register', 'node.pub', 'test', '--format', 'json')
  const [, nodeId = ''] = /"node-id": (\d+)\n/.exec(registered.stdout) ?? []
  assert.ok(BigInt(nodeId) > 1n)
  assert.match((await deployment.flwr('supernode', 'ls')).stdout, new RegExp(`^${nodeId} +none +registered`, 'm'))
  assert.match((await deployment.flwr('supernode', 'register', 'node.pub')).said, /already in use by another SuperNode/)
  const unregistered = await deployment.flwr('supernode', 'unregister', nodeId, '--format', 'json')
  assert.equal(unregistered.stdout, `{\n  "success": true,\n  "node-id": ${nodeId}\n}\n`)
  assert.doesNotMatch((await deployment.flwr('supernode', 'ls')).stdout, new RegExp(nodeId))
  const all = await deployment.flwr('supernode', 'ls', '--verbose')
  assert.match(all.stdout, new RegExp(`^${nodeId} +none +unregistered`, 'm'))
})

test('config.toml is written where there is none, and its connections are listed', async () => {
  const home = deployment.directory.file('new-home')
  const config = join(home, 'config.toml')
  const flwr = (...args: string[]) => run('flwr', args, { cwd: deployment.directory.path, env: { FLWR_HOME: home } })
  const listed = await flwr('config', 'list', '--format', 'json')
  assert.deepEqual(JSON.parse(listed.stdout), {
    superlink: ['local', 'local-deployment'],
    default: 'local',
  })
  assert.match(readFileSync(config, 'utf8'), /^#/)
  assert.match((await flwr('config', 'ls')).stdout, /^ {2}local \(default\)$/m)
})

const python = process.env.TRELLIS_PYTHON_129
const noPython = 'TRELLIS_PYTHON_129 names no virtual environment with flwr 1.29'
test("JSON documents have the keys and types of Flower 1.29's flwr, asked about the same SuperLink", {
  skip: python === undefined && noPython,
}, async () => {
  const server = `import { ServerApp } from 'trellis-fl'
    export const app = new ServerApp().main(() => {})`
  const app = deployment.writeApp({ server, client: countingClient })
  const ran = await deployment.flwr('run', app, '--stream')
  const [, runId = ''] = /started run (\d+)/.exec(ran.said) ?? []
  assert.equal(ran.status, 0, ran.said)
  const lines = [
    'ls test',
    `ls test --run-id ${runId}`,
    'ls test --run-id 5',
    'supernode ls test',
    'supernode unregister 5 test',
    'federation list test',
    'federation list test --federation @none/default',
    'federation list test --federation @a/b',
    `stop ${runId} test`,
    'stop 5 test',
    'config list',
    `run ${join(import.meta.dirname, '../../nothing')} test`,
  ]
  const options = { cwd: deployment.directory.path, env: deployment.environment }
  for (const line of lines) {
    const words = [...line.split(' '), '--format', 'json']
    const ours = await deployment.flwr(...words)
    const theirs = await runPythonFlwr('1.29', words, options)
    // Flower ends with 0 when a document reports an error; ours ends as it does without --format json.
    assert.equal(ours.status, JSON.parse(ours.stdout).success === false ? 1 : theirs.status, line)
    assert.deepEqual(jsonShape(ours.stdout, addedKeys(line)), jsonShape(theirs.stdout), line)
  }
  // A run's document needs an app that Python's flwr takes too.
  const folder = deployment.writeApp({ server: '', client: '', name: 'python-app' })
  const pyproject = join(folder, 'pyproject.toml')
  const components = readFileSync(pyproject, 'utf8').replaceAll(/app\/(server|client)\.ts:app/g, 'app.$1:app')
  writeFileSync(pyproject, components)
  for (const name of ['__init__', 'server', 'client']) writeFileSync(join(folder, 'app', `${name}.py`), 'app = None\n')
  const words = ['run', folder, 'test', '--format', 'json']
  const { 'federation-id': federation, ...ours } = JSON.parse((await deployment.flwr(...words)).stdout)
  assert.equal(federation, '@none/default')
  const theirs = JSON.parse((await runPythonFlwr('1.29', words, options)).stdout)
  assert.deepEqual({ ...ours, 'run-id': '' }, { ...theirs, 'run-id': '' })
})
