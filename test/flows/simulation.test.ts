import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { freePort } from '../harness/free-port.ts'
import { LocalSimulation } from '../harness/local-simulation.ts'
import { eventually, isAlive, programFolder, run } from '../harness/program.ts'
import { countingClientPython, countingServerPython } from '../harness/python-apps.ts'
import { pythonEnvironment, startPython, withoutPython } from '../harness/python-flower.ts'

/** Says when each of its messages began and ended to be worked on, and which part of the data the node has. */
const watchedClient = `
import { appendFileSync } from 'node:fs'
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
const note = (context, what) =>
  appendFileSync(String(context.runConfig['notes']), JSON.stringify({ what, at: Date.now(), node: String(context.nodeId),
    partition: String(context.nodeConfig['partition-id']), of: String(context.nodeConfig['num-partitions']) }) + '\\n')
export const app = new ClientApp()
  .train(async (message, context) => {
    note(context, 'begin')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const partition = Number(context.nodeConfig['partition-id'])
    const values = Float32Array.from(message.content.arrays('arrays').get('w').values(), (value) => value + partition)
    note(context, 'end')
    const metrics = new MetricRecord({ 'num-examples': 1 })
    return message.reply(new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(values) }), metrics }))
  })
  .evaluate((message) => message.reply(new RecordDict({ metrics: new MetricRecord({ 'num-examples': 1, loss: 0.5 }) })))
`

/** Draws a random number for each message, as apps do that shuffle their data. */
const drawingClientPython = countingClientPython.replace(
  '    arrays = ',
  '    import numpy as np\n    print(f"DRAWN {np.random.rand()} ", flush=True)\n    arrays = ',
)

interface Note {
  readonly what: 'begin' | 'end'
  readonly at: number
  readonly node: string
  readonly partition: string
  readonly of: string
}

function readNotes(file: string): Note[] {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as Note).sort((a, b) => a.at - b.at || (a.what === 'end' ? -1 : 1))
}

/** How many worked at the same time at most. */
function mostAtOnce(notes: readonly Note[]): number {
  let [now, most] = [0, 0]
  for (const { what } of notes) {
    now += what === 'begin' ? 1 : -1
    most = Math.max(most, now)
  }
  return most
}

test('without a SuperLink an app runs on ten virtual SuperNodes, as many at a time as there are processors', async () => {
  await using user = new LocalSimulation()
  const notes = user.file('notes')
  user.writeApp({ server: countingServer, client: watchedClient, config: `nodes = 10\nrounds = 2\nnotes = "${notes}"` })
  const ran = await user.flwr('run', 'testapp', '--stream')
  assert.equal(ran.status, 0, ran.said)
  assert.match(ran.said, /Starting a local SuperLink; its log is \S+\/trellis\.log/)
  // Each round adds the mean of the partitions 0 to 9.
  const [, first, second] = /weights: (\S+) (\S+)/.exec(ran.stdout) ?? []
  assert.ok(Math.abs(Number(first) - 9) < 1e-4 && Math.abs(Number(second) - 19) < 1e-4, `${first} ${second}`)
  assert.match(ran.stdout, /\[ROUND 2\/2\]/)
  assert.match(ran.stdout, /finished:completed/)

  const seen = readNotes(notes)
  assert.equal(seen.length, 40)
  assert.equal(mostAtOnce(seen), Math.min(availableParallelism(), 10))
  assert.equal(new Set(seen.map(({ node }) => node)).size, 10)
  assert.deepEqual(new Set(seen.map(({ partition }) => partition)), new Set([...'0123456789']))
  assert.deepEqual(new Set(seen.map(({ of }) => of)), new Set(['10']))
  await eventually('the end of the ClientApps', () => user.processes('flwr-clientapp').length === 0)

  const listed = JSON.parse((await user.flwr('ls', '--format', 'json')).stdout)
  assert.equal(listed.runs[0].status, 'finished:completed')
  assert.ok(listed.runs[0]['compute-time']['clientapp-seconds'] >= 2, JSON.stringify(listed.runs[0]))
})

test('a node keeps its state from message to message, and settings of config.toml and of the command count', async () => {
  await using user = new LocalSimulation()
  await user.flwr('config', 'ls')
  const config = '[superlink]\ndefault = "two"\n[superlink.two]\noptions.num-supernodes = 2\n'
  writeFileSync(join(user.home, 'config.toml'), config)
  user.writeApp({ server: countingServer, client: countingClient, config: 'nodes = 2\nrounds = 3\npause-ms = 0' })
  const two = await user.flwr('run', 'testapp', '--stream')
  assert.match(two.stdout, /Sampled 2 nodes \(out of 2\)/)
  assert.match(two.stdout, /3: \{'pid': '\S+', 'seen': '3\.0000e\+00'\}/)
  const five = await user.flwr('run', 'testapp', '--stream', '--federation-config', 'num-supernodes=5')
  assert.match(five.stdout, /Sampled 5 nodes \(out of 5\)/)
  assert.match(five.stdout, /3: \{'pid': '\S+', 'seen': '3\.0000e\+00'\}/)
  const shown = await user.flwr('federation', 'ls', '--federation', '@none/default')
  assert.match(shown.stdout, /num-supernodes +10/)
  const changed = await user.flwr('federation', 'simulation-config', '@none/default', 'two', '--num-supernodes', '4')
  assert.equal(changed.status, 0, changed.said)
  const four = await user.flwr('run', 'testapp', ':local:', '--stream')
  assert.match(four.stdout, /Sampled 4 nodes \(out of 4\)/)
  assert.match((await user.flwr('federation', 'simulation-config')).said, /Say at least one setting/)
  const wrong = await user.flwr('federation', 'simulation-config', '--client-resources-num-gpus', 'half')
  assert.match(wrong.said, /--client-resources-num-gpus must be a number of at least 0, not 'half'/)
})

test('the digits example ends where it ends with three real SuperNodes', async () => {
  await using user = new LocalSimulation()
  const app = join(import.meta.dirname, '..', '..', 'examples', 'digits')
  const ran = await user.flwr('run', app, ':local:', '--stream', '--federation-config', 'num-supernodes=3')
  assert.match(ran.stdout, /Final test accuracy: 0\.9767/)
})

test('settings that make no sense are refused in a sentence, and nothing is started', async () => {
  await using user = new LocalSimulation()
  user.writeApp({ server: countingServer, client: countingClient })
  const refuse = async (settings: string): Promise<string> => {
    const ran = await user.flwr('run', 'testapp', ':local:', '--federation-config', settings)
    assert.equal(ran.status, 1, ran.said)
    assert.doesNotMatch(ran.said, /Successfully started|\n {4}at /)
    return ran.said
  }
  assert.match(await refuse('num-supernodes=0'), /num-supernodes must be from 1 to 10000, not 0\./)
  assert.match(await refuse('num-supernodes="ten"'), /'num-supernodes' must be a whole number, not ten/)
  assert.match(
    await refuse('client-resources-num-cpus=2 init-args-num-cpus=1'),
    /more than the 1 of init-args-num-cpus/,
  )
  assert.match(await refuse('client-resources-num-gpus=1000'), /there are \d+ GPUs: set it to 0/)
  assert.match(await refuse('nodes=1'), /'nodes' is unknown: there are num-supernodes/)
  assert.match((await user.flwr('ls', ':local:')).stdout, /There are no runs yet/)
})

test('the local SuperLink is killed and comes back with its runs, lets in no other user, and is renewed for another PATH when it is idle', async () => {
  await using user = new LocalSimulation()
  const pid = (): number =>
    Number(readFileSync(join(user.home, 'local-superlink', 'trellis.address'), 'utf8').split('\n')[1])
  user.writeApp({ server: countingServer, client: countingClient, config: 'nodes = 2\nrounds = 1\npause-ms = 0' })
  const settings = ['--federation-config', 'num-supernodes=2']
  assert.match((await user.flwr('run', 'testapp', '--stream', ...settings)).stdout, /finished:completed/)
  const first = pid()
  process.kill(first, 'SIGKILL')
  await eventually('the end of the local SuperLink', () => !isAlive(first))
  const again = await user.flwr('ls')
  assert.match(again.said, /Starting a local SuperLink/)
  assert.match(again.stdout, /finished:completed/)
  const second = pid()
  const [address = ''] = readFileSync(join(user.home, 'local-superlink', 'trellis.address'), 'utf8').split('\n')
  writeFileSync(
    join(user.home, 'config.toml'),
    `[superlink]\ndefault = ":local:"\n[superlink.neighbour]\naddress = "${address}"\ninsecure = true\n`,
  )
  const neighbour = await user.flwr('ls', 'neighbour')
  assert.equal(neighbour.status, 1, neighbour.said)
  assert.doesNotMatch(neighbour.said, /finished:completed/)
  assert.notEqual(second, first)
  assert.doesNotMatch((await user.flwr('ls')).said, /Starting/)
  user.setEnvironment({ PATH: `/nowhere:${process.env.PATH}` })
  assert.match((await user.flwr('ls')).stdout, /finished:completed/)
  assert.notEqual(pid(), second)
  await eventually('the end of the old one', () => !isAlive(second))
})

test('a run goes on when its command is killed, and a stop ends its processes', async () => {
  await using user = new LocalSimulation()
  user.writeApp({ server: countingServer, client: countingClient, config: 'nodes = 10\nrounds = 100\npause-ms = 200' })
  await using cli = user.start('flwr', 'run', 'testapp', '--stream')
  const [, runId = ''] = await cli.line(/Successfully started run (\d+)/)
  await cli.line(/ROUND 1/)
  cli.kill('SIGKILL')
  await cli.end()
  await using log = user.start('flwr', 'log', runId, ':local:')
  await log.line(/ROUND 2/)
  assert.match((await user.flwr('ls')).stdout, new RegExp(`${runId}.* running`))
  assert.ok(user.processes('flwr-clientapp').length > 0)
  assert.equal(user.processes('flwr-simulation').length, 1, 'the ServerApp is found by the name that it has in Flower')
  assert.match((await user.flwr('stop', runId)).stdout, /was stopped/)
  await eventually('the end of the app', () => user.processes('flwr-').every((pid) => !isAlive(pid)))
  assert.match((await user.flwr('ls')).stdout, new RegExp(`${runId}.*finished:stopped`))
})

test('a follower of a run sees that the local SuperLink was killed, and then how the run ended', async () => {
  await using user = new LocalSimulation()
  user.writeApp({ server: countingServer, client: countingClient, config: 'nodes = 4\nrounds = 100\npause-ms = 300' })
  await using cli = user.start(
    'flwr',
    'run',
    'testapp',
    ':local:',
    '--stream',
    '--federation-config',
    'num-supernodes=4',
  )
  const [, runId = ''] = await cli.line(/Successfully started run (\d+)/)
  await cli.line(/ROUND 1/)
  for (const pid of user.processes('flower-superlink')) process.kill(pid, 'SIGKILL')
  assert.equal(await cli.end(), 1)
  assert.match(cli.said, /The local SuperLink has ended; its log: \S+\/trellis\.log/)
  assert.match(cli.said, new RegExp(`To see what became of the run: flwr log ${runId} :local:`))
  await eventually('the end of the apps', () => user.processes('flwr-').every((pid) => !isAlive(pid)))
  const log = await user.flwr('log', runId, ':local:')
  assert.match(log.said, /ROUND 1.*finished:failed: The server was restarted/s)
})

test('an app that fails, or computes without an end, is reported and leaves no process behind', async () => {
  await using user = new LocalSimulation()
  const client = `
import { ClientApp } from 'trellis-fl'
export const app = new ClientApp().query((message, context) => {
  const partition = Number(context.nodeConfig['partition-id'])
  console.log('looks for data')
  if (partition === 0) throw new Error('no data here')
  if (partition === 1) process.exit(3)
  for (;;) {}
})
`
  const server = `
import { log, Message, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  const nodes = await grid.getNodeIds()
  const messages = nodes.map((dstNodeId) =>
    Message.create({ content: new RecordDict(), messageType: 'query', dstNodeId, ttl: 12 }))
  for (const reply of await grid.sendAndReceive(messages)) log.info(\`error \${reply.error.code}: \${reply.error.reason}\`)
})
`
  user.writeApp({ server, client })
  const ran = await user.flwr('run', 'testapp', ':local:', '--stream', '--federation-config', 'num-supernodes=3')
  assert.equal(ran.status, 0, ran.said)
  assert.match(ran.stdout, /error \d+: Error: no data here \(\S+\.ts:6:30\)/)
  assert.match(ran.stdout, /^\[partition 0\] looks for data$/m)
  assert.match(ran.stdout, /error \d+: ClientApp stopped responding\. .*exit status 3/)
  assert.match(ran.stdout, /error \d+: .*(did not answer before its message expired|Message Unavailable)/)
  await eventually('the end of the ClientApps', () => user.processes('flwr-clientapp').length === 0)
})

for (const release of ['1.29', '1.41'] as const)
  test(`a Python app is simulated in the environment that is active, and its ClientApps in forks of one process: ${release}`, {
    skip: withoutPython,
  }, async () => {
    const environment = pythonEnvironment(release) as string
    await using user = new LocalSimulation({
      PATH: `${join(environment, 'bin')}:${process.env.PATH}`,
      FLWR_TELEMETRY_ENABLED: '0',
    })
    user.writeMixedApp({
      server: { language: 'python', source: countingServerPython },
      client: { language: 'python', source: drawingClientPython },
      config: 'nodes = 10\nrounds = 2\npause-ms = 0',
    })
    const running = user.flwr('run', 'testapp', ':local:', '--stream')
    await eventually('the ServerApp', () => user.processes('flwr-simulation').length === 1, 60_000)
    const ran = await running
    assert.equal(ran.status, 0, ran.said)
    assert.match(ran.stdout, /Sampled 10 nodes \(out of 10\)/)
    assert.match(ran.stdout, /weights: 2 12/)
    assert.match(ran.stdout, /2: \{'seen': '2\.0000e\+00'\}/)
    assert.match(ran.stdout, /finished:completed/)
    const log = readFileSync(join(user.home, 'local-superlink', 'trellis.log'), 'utf8')
    const drawn = [...log.matchAll(/^INFO : {6}\[ClientApp, run \d+\] DRAWN (\S+)$/gm)].map(([, number]) => number)
    assert.equal(drawn.length, 20)
    assert.equal(new Set(drawn).size, 20, 'each execution draws numbers of its own')
    // The SuperExec goes on, and what it forks from.
    await eventually('the end of the ClientApps', () => user.processes('--parent-pid').length <= 2)
  })

test("Flower's flwr of both generations starts, lists and stops simulations of ours", {
  skip: withoutPython,
}, async () => {
  await using user = new LocalSimulation({ FLWR_TELEMETRY_ENABLED: '0', FLWR_DISABLE_UPDATE_CHECK: '1' })
  const python = join(pythonEnvironment('1.41') as string, 'bin', 'python')
  const ports = ['--control-api-address', '127.0.0.1:0', '--port', '0']
  await using superlink = user.start('flower-superlink', '--insecure', '--simulation', '--python', python, ...ports)
  const [, control = ''] = await superlink.line(/Starting Control API on (\S+)/)
  const [, api = ''] = await superlink.line(/Starting API on (\S+)/)
  await user.flwr('config', 'ls')
  const config = `[superlink.grpc]\naddress = "${control}"\ninsecure = true\n[superlink.http]\naddress = "${api}"\ninsecure = true\n`
  writeFileSync(join(user.home, 'config.toml'), config)
  const app = user.writeMixedApp({
    server: { language: 'python', source: countingServerPython },
    client: { language: 'python', source: countingClientPython },
    config: 'nodes = 2\nrounds = 1\npause-ms = 0',
  })
  for (const [release, connection] of [
    ['1.29', 'grpc'],
    ['1.41', 'http'],
  ] as const) {
    const flwr = (...args: string[]) => startPython(release, 'flwr', args, user.options())
    await using run = flwr('run', app, connection, '--stream', '--federation-config', 'num-supernodes=3')
    await run.line(/Sampled \d nodes \(out of 3\)/)
    await run.line(/weights: 1 11/)
    await using shown = flwr('federation', 'list', connection, '--federation', '@none/default', '--format', 'json')
    assert.equal(await shown.end(), 0)
    const { federation } = JSON.parse(shown.stdout.slice(shown.stdout.indexOf('{')))
    assert.equal(federation.simulation, true, release)
    assert.equal(federation['simulation-config'].num_supernodes, 10, release)
    await using long = flwr('run', app, connection, '--run-config', 'rounds=50 pause-ms=300')
    const [, runId = ''] = await long.line(/run (\d+)/)
    await using stopped = flwr('stop', runId, connection)
    assert.equal(await stopped.end(), 0, stopped.said)
    assert.match((await user.flwr('ls', 'grpc')).stdout, new RegExp(`${runId}.*finished:stopped`))
    await using refused = flwr('run', app, connection, '--federation-config', 'num-supernodes=0')
    await refused.end()
    assert.match(refused.said, /num-supernodes must be from 1 to 10000|Invalid|invalid/, release)
  }
})

for (const release of ['1.29', '1.41'] as const)
  test(`with our programs first on PATH, a local simulation of Flower's flwr is one of ours: ${release}`, {
    skip: withoutPython,
  }, async () => {
    const environment = pythonEnvironment(release) as string
    await using user = new LocalSimulation({
      PATH: `${programFolder}:${join(environment, 'bin')}:${process.env.PATH}`,
      FLWR_LOCAL_CONTROL_API_PORT: String(await freePort()),
      FLWR_LOCAL_SUPERLINK_HTTP_API_PORT: String(await freePort()),
      FLWR_TELEMETRY_ENABLED: '0',
      FLWR_DISABLE_UPDATE_CHECK: '1',
    })
    const app = user.writeMixedApp({
      server: { language: 'python', source: countingServerPython },
      client: { language: 'python', source: countingClientPython },
      config: 'nodes = 2\nrounds = 1\npause-ms = 0',
    })
    const program = join(environment, 'bin', 'flwr')
    const settings = ['--federation-config', 'num-supernodes=2']
    const { status, said } = await run(program, ['run', app, 'local', '--stream', ...settings], {
      ...user.options(),
      bin: '/',
    })
    assert.equal(status, 0, said)
    assert.match(said, /Sampled 2 nodes \(out of 2\)/)
    assert.match(said, /weights: 1 11/)
    assert.match(readFileSync(join(user.home, 'local-superlink', 'superlink.log'), 'utf8'), /Created simulation run/)
  })

test('a SuperNode that comes to a SuperLink that simulates is told so and ends', async () => {
  await using user = new LocalSimulation()
  const ports = ['--control-api-address', '127.0.0.1:0', '--port', '0']
  await using superlink = user.start('flower-superlink', '--insecure', '--simulation', ...ports)
  const [, api = ''] = await superlink.line(/Starting API on (\S+)/)
  assert.doesNotMatch(superlink.said, /Fleet API/)
  for (const transport of ['grpc', 'http']) {
    await using node = user.start('flower-supernode', '--insecure', '--superlink', api, '--transport', transport)
    assert.equal(await node.end(), 1)
    assert.match(node.said, /This SuperLink simulates its SuperNodes \(--simulation\): others cannot join it\./)
  }
})

test('a local SuperLink that cannot start is told with its log', async () => {
  await using user = new LocalSimulation()
  user.writeApp({ server: countingServer, client: countingClient })
  await user.flwr('config', 'ls')
  writeFileSync(join(user.home, 'local-superlink'), '')
  const blocked = await user.flwr('ls')
  assert.equal(blocked.status, 1)
  assert.match(blocked.said, /local-superlink cannot be made \(\w+\): check permissions, or set FLWR_HOME/)
})

test('the reason of a local SuperLink that does not start is its own, whatever its log says', async () => {
  await using user = new LocalSimulation()
  await user.flwr('config', 'ls')
  const folder = join(user.home, 'local-superlink')
  mkdirSync(join(folder, 'trellis.db'), { recursive: true })
  // Stands for a log to which an earlier SuperLink writes: the reason is not its last line.
  symlinkSync('/dev/null', join(folder, 'trellis.log'))
  const refused = await user.flwr('ls')
  assert.equal(refused.status, 1)
  assert.match(refused.said, /The local SuperLink did not start: .*trellis\.db .+\. Its log: .*trellis\.log/)
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('failure-')),
    [],
  )
})
