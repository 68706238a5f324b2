import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { PostgresServer, withoutPostgres } from '../harness/postgres.ts'
import { eventually } from '../harness/program.ts'
import { countingClientPython, writeMixedApp } from '../harness/python-apps.ts'
import { withoutReleases } from '../harness/python-flower.ts'

/** Deployments whose SuperLink keeps its state in PostgreSQL. */

const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false
const password = 'correct horse battery staple'
let server: PostgresServer
let deployment: Deployment

before(async () => {
  if (withoutPostgres) return
  server = await PostgresServer.start({ admits: ['host all all 127.0.0.1/32 scram-sha-256'] })
  await server.sql(`CREATE ROLE flower LOGIN PASSWORD '${password}'`)
  await server.sql('CREATE DATABASE flower OWNER flower')
  deployment = await Deployment.create({
    superlinkArguments: async ({ directory }) => {
      writeFileSync(directory.file('passfile'), `${password}\n`, { mode: 0o600 })
      const url = `postgres://flower@127.0.0.1:${server.port}/flower?passfile=${directory.file('passfile')}`
      return ['--database', url, '--storage-dir', directory.file('objects')]
    },
  })
})
after(async () => {
  await deployment?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})

test('SuperNodes train although the server restarts meanwhile, and the password appears nowhere', {
  skip: withoutPostgres,
}, async () => {
  const nodes = [await deployment.startSupernode('node-1'), await deployment.startSupernode('node-2')]
  const app = deployment.writeApp({
    server: countingServer,
    client: countingClient,
    config: 'rounds = 2\npause-ms = 1',
  })
  const running = deployment.flwr('run', app, '--stream')
  await nodes[0]?.line(/Received: train message/)
  await server.kill()
  await deployment.superlink.line(/The database postgres:\S+ cannot be reached .*: start its server/)
  await server.restart()
  const { status, said: streamed } = await running
  assert.equal(status, 0, `${streamed}\n${deployment.superlink.said}`)
  assert.match(streamed, /finished:completed/)
  await deployment.superlink.line(/The database can be reached again: work goes on/)
  const { pid, said } = deployment.superlink
  for (const text of [said, readFileSync(`/proc/${pid}/cmdline`, 'utf8'), readFileSync(`/proc/${pid}/environ`, 'utf8')])
    assert.doesNotMatch(text, /battery/)
})

test('registered keys, a SuperNode of Flower 1.29 and flwr events --follow go on at the SuperLink that takes over', {
  skip: withoutPostgres || needsSshKeygen || withoutReleases('1.29'),
}, async () => {
  await server.sql('CREATE DATABASE keys OWNER flower')
  const { file } = deployment.directory
  const url = `postgres://flower@127.0.0.1:${server.port}/keys?passfile=${file('passfile')}`
  await using fleet = await MixedFleet.create({
    superlink: 'trellis',
    superlinkArguments: ['--enable-supernode-auth', '--database', url, '--storage-dir', file('objects-of-keys')],
  })
  const [key, unused] = [await fleet.registerKey('trellis', 'key'), await fleet.registerKey('trellis', 'unused')]
  await fleet.startSupernode('1.29', ['--auth-supernode-private-key', key.file])
  const events = fleet.start('trellis', 'flwr', ['events', '--follow', '--format', 'json'])

  const first = fleet.superlink
  // Its ports are those of the first one, which are free when it takes over.
  const takesOver = fleet.startSuperlink()
  await fleet.superlink.line(/this one is a standby/)
  await events.line(/"node\.online"/)
  first.kill('SIGKILL')
  await takesOver

  const knowsBoth = async () => {
    const { stdout } = await fleet.flwr('trellis', ['supernode', 'list', '--format', 'json'])
    const statusOf = ({ nodeId }: { nodeId: string }) =>
      JSON.parse(stdout).nodes?.find((node: Record<string, unknown>) => node['node-id'] === nodeId)?.status
    return [statusOf(key), statusOf(unused)].join() === 'online,registered'
  }
  await eventually('a list with both keys', knowsBoth)
  const removed = await fleet.flwr('trellis', ['supernode', 'unregister', unused.nodeId])
  assert.equal(removed.status, 0, removed.said)
  const app = writeMixedApp(file('keysapp'), {
    server: { language: 'typescript', source: countingServer },
    client: { language: 'python', source: countingClientPython },
    config: 'rounds = 1\nnodes = 1',
  })
  const ran = await fleet.flwr('trellis', ['run', app, '--stream'])
  assert.match(ran.said, /weights: 1 11\b/)
  await events.line(/"run\.finished"/)
  const seen = events.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; sequence: string; data: { node?: string } })
  assert.deepEqual(
    seen.map(({ sequence }) => Number(sequence)),
    seen.map((_, index) => index + 1),
  )
  const typesOf = (node: string) => seen.flatMap(({ type, data }) => (data.node === node ? [type] : []))
  assert.deepEqual(typesOf(unused.nodeId), ['node.registered', 'node.unregistered'])
  assert.deepEqual(typesOf(key.nodeId).slice(0, 2), ['node.registered', 'node.online'])
})
