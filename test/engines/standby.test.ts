import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { BalancedSuperlinks, firstPolicy, withoutBalancer } from '../harness/balanced-superlinks.ts'
import { expectedDigest, writeBilingualApp } from '../harness/bilingual-app.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { FaultProxy } from '../harness/fault-proxy.ts'
import { freePort } from '../harness/free-port.ts'
import { ObjectServer, withoutObjectServers } from '../harness/object-server.ts'
import { eventually, type TestProgram } from '../harness/program.ts'
import { runningPython, runPythonFlwr, startPython, withoutReleases } from '../harness/python-flower.ts'
import { startStunnel, withoutStunnel } from '../harness/stunnel.ts'

/**
 * Three SuperLinks on one database and one bucket behind HAProxy, over mutual TLS: one serves, two stand by. None of them keeps
 * anything on its own disk.
 */

/** Programs that wait for each other on a busy machine take long. */
const patienceMs = 280_000
const skip = withoutBalancer || withoutObjectServers
/** Each test waits several times, and says what did not happen before its own limit. */
const options = { skip, timeout: 25 * 60_000 }
const home = temporaryDirectory()
let fleet: BalancedSuperlinks
let bucket: ObjectServer
/** Before the bucket: sees all requests. */
let proxy: FaultProxy
let nodes: TestProgram[]

before(async () => {
  if (skip) return
  bucket = await ObjectServer.start(home.file('s3'))
  proxy = await FaultProxy.start(bucket.port)
  const python = withoutReleases('1.41') ? undefined : runningPython('1.41')
  const storage = bucket.url('fleet', proxy.port)
  fleet = await BalancedSuperlinks.start(3, {
    storage,
    ...(python && { python: python.args, environment: python.env }),
  })
  nodes = [await fleet.deployment.startSupernode('node-1'), await fleet.deployment.startSupernode('node-2')]
})
after(async () => {
  await fleet?.[Symbol.asyncDispose]()
  await proxy?.[Symbol.asyncDispose]()
  await bucket?.[Symbol.asyncDispose]()
  home[Symbol.dispose]()
})

const startRun = (rounds: number): TestProgram => {
  // The ballast is large enough for the bucket.
  const config = `rounds = ${rounds}\npause-ms = 200\nballast = 100000`
  const app = fleet.deployment.writeApp({ server: countingServer, client: countingClient, config })
  return fleet.deployment.start('flwr', ['run', app, '--stream'])
}

/** Each round adds one to each weight, once: a message that was lost or handled twice would show. */
async function completes(run: TestProgram, rounds: number): Promise<void> {
  const ended = await run.end(patienceMs)
  await run.heard()
  assert.equal(ended, 0, [run, ...fleet.superlinks].map(({ said }) => said).join('\n----\n'))
  assert.match(run.said, new RegExp(`weights: ${rounds} ${rounds + 10}\\b`))
}

async function killActive(): Promise<number> {
  const active = await fleet.active()
  fleet.superlinks[active]?.kill('SIGKILL')
  await fleet.superlinks[active]?.end()
  return active
}

/** `flwr` does not wait for a SuperLink, and HAProxy sees only at its next check which one serves. */
const untilServed = () =>
  eventually('a response through HAProxy', async () => (await fleet.deployment.flwr('ls')).status === 0)

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

function writeConnection(folder: string, port: number): void {
  mkdirSync(folder)
  const connection = `address = "127.0.0.1:${port}"\ninsecure = true\n`
  writeFileSync(join(folder, 'config.toml'), `[superlink]\ndefault = "test"\n[superlink.test]\n${connection}`)
}

/** Waits until the program says this after `action`. */
async function says(programs: readonly TestProgram[], what: string, action: () => unknown): Promise<void> {
  const before = programs.map(({ said }) => said.length)
  await action()
  for (const [index, program] of programs.entries())
    await eventually(`'${what}'`, () => program.said.slice(before[index]).includes(what))
}

test(
  'a training, its stream and its log continue though the active SuperLink is killed, and then the next one',
  options,
  async (t) => {
    for (const standby of fleet.superlinks.slice(1)) await standby.line(/is in use by the SuperLink at 127\.0\.0\.1, /)
    const readyAt = `http://${(await fleet.superlinks[1]?.line(/health server on (\S+)/))?.[1]}/readyz`
    const notReady = await fetch(readyAt)
    assert.equal(notReady.status, 503)
    assert.match(await notReady.text(), /this one is a standby .* It has waited since 20/)
    const run = startRun(4)
    const [, runId = ''] = await run.line(/started run (\d+)/)
    const log = fleet.deployment.start('flwr', ['log', runId, '--stream'])
    for (const round of [2, 3]) {
      await run.line(new RegExp(`ROUND ${round}/4`), patienceMs)
      const active = await killActive()
      const killedAt = performance.now()
      await fleet.active()
      t.diagnostic(`a standby served after ${Math.round(performance.now() - killedAt)} ms`)
      await fleet.restart(active).line(/this one is a standby/)
    }
    await completes(run, 4)
    assert.match(run.said, /finished:completed/)
    const objects = /^PUT \/models\/fleet\/[0-9a-f]{2}\/[0-9a-f]{64}/
    assert.ok(
      proxy.seen.some((request) => objects.test(request)),
      proxy.seen.join('\n'),
    )
    assert.equal(await log.end(patienceMs), 0)
    await log.heard()
    assert.match(log.said, /ROUND 1\/4[\s\S]*ROUND 4\/4[\s\S]*weights: 4 14\b/)
  },
)

test('a SuperLink that has taken over sees that an identity is in use', options, async () => {
  const pair = ['--ssl-client-certfile', 'node-1.pem', '--ssl-client-keyfile', 'node-1.key']
  const args = ['--root-certificates', 'ca.crt', ...pair, '--superlink', fleet.deployment.fleetAddress]
  const second = fleet.deployment.start('flower-supernode', args)
  assert.equal(typeof (await second.end()), 'number')
  await second.heard()
  assert.match(second.said, /identity is in use by a connected SuperNode \(node-1\)/)
  assert.equal(nodes[0]?.hasEnded, false)
})

test('a run survives that the database cannot be reached for ten seconds', options, async () => {
  const active = fleet.superlinks[await fleet.active()] as TestProgram
  const run = startRun(2)
  await run.line(/ROUND 1\/2/, patienceMs)
  fleet.relay.cut()
  await active.line(/The database postgres:\S+ cannot be reached/)
  await new Promise((resolve) => setTimeout(resolve, 10_000))
  await fleet.relay.mend()
  // The same SuperLink goes on, or a standby that was faster.
  await completes(run, 2)
})

test(
  'a SuperLink that was taken over while it was cut off stops serving and becomes the standby',
  options,
  async () => {
    const active = await fleet.active()
    const former = fleet.superlinks[active] as TestProgram
    const advisory = "FROM pg_locks WHERE locktype = 'advisory' AND"
    await eventually('a standby that waits for the lock', async () => {
      const waiting = await fleet.database.sql(`SELECT pid ${advisory} NOT granted`, 'flower')
      return waiting.length > 0
    })
    // Of the SuperLinks that wait, each goes on with the last good policy.
    replace(fleet.policy, 'no policy')
    // The session ends on the server, as it does when the network to this SuperLink alone is cut: a standby gets the lock.
    await fleet.database.sql(`SELECT pg_terminate_backend(pid) ${advisory} granted`, 'flower')
    await former.line(/taken over by another SuperLink .* This one stops serving and becomes its standby\./)
    await former.line(/becomes its standby\.[\s\S]*policy\.toml[\s\S]*is no standby until it is corrected/)
    await fleet.active()
    replace(fleet.policy, firstPolicy)
    await former.line(/until it is corrected[\s\S]*this one is a standby and takes over/)
    await untilServed()
    await completes(startRun(1), 1)
  },
)

test('a revocation acts at the SuperLink that has taken over', options, async () => {
  const { ca } = fleet.deployment
  const { issued } = await ca.issue('node-3')
  const pair = ['--ssl-client-certfile', 'node-3.pem', '--ssl-client-keyfile', 'node-3.key']
  const args = ['--root-certificates', 'ca.crt', ...pair, '--superlink', fleet.deployment.fleetAddress]
  const node = fleet.deployment.start('flower-supernode', args)
  await node.line(/SuperNode ID/)
  replace(fleet.crl, await ca.crl([issued], 2))
  assert.equal(await node.end(), 1)
  await node.heard()
  assert.match(node.said, /revoked/)
  assert.deepEqual(
    nodes.map(({ hasEnded }) => hasEnded),
    [false, false],
  )
})

test('a standby follows changes of its files and takes over with the last good ones', options, async () => {
  const { ca, directory } = fleet.deployment
  const active = await fleet.active()
  const standbys = fleet.superlinks.filter((_, index) => index !== active)
  for (const standby of standbys) standby.kill('SIGUSR1')
  await says(standbys, 'Replaced the trust in clients', () => {
    replace(fleet.policy, firstPolicy.replace(', "cli"', ''))
    for (const standby of standbys) standby.kill('SIGHUP')
  })
  await says(standbys, 'Kept the server certificate that is in use', () => replace(directory.file('server.pem'), ''))
  await killActive()
  await fleet.active()
  await eventually('a refusal of the role that was taken away', async () =>
    /does not grant that role/.test((await fleet.deployment.flwr('ls')).said),
  )
  const { certfile } = await ca.server('server')
  assert.equal(certfile, directory.file('server.pem'))
  const serving = fleet.superlinks[await fleet.active()] as TestProgram
  await says([serving], 'Replaced the trust in clients', () => replace(fleet.policy, firstPolicy))
  await untilServed()
  await fleet.restart(active).line(/this one is a standby/)
})

test(
  'a standby that cannot use its keys for the bucket says so and ends, and another one takes over',
  options,
  async () => {
    const active = await fleet.active()
    const [next, other] = [(active + 1) % 3, (active + 2) % 3] as const
    for (const standby of [next, other]) {
      fleet.superlinks[standby]?.kill()
      await fleet.superlinks[standby]?.end()
    }
    const keys = readFileSync(fleet.bucketKeys(next))
    writeFileSync(fleet.bucketKeys(next), 'no keys')
    // One that has served before would wait until its file is right.
    const failed = fleet.restart(next)
    await failed.line(/This standby could not take over now: The object store \S+ cannot be used: --storage-cred/)
    await killActive()
    assert.equal(await failed.end(), 1)
    await failed.heard()
    assert.match(failed.said, /--storage-credentials-file: bucket-keys-\d must hold the lines aws_access_key_id = /)
    for (const index of [active, other]) fleet.restart(index)
    await fleet.active()
    await untilServed()
    writeFileSync(fleet.bucketKeys(next), keys)
    await fleet.restart(next).line(/this one is a standby/)
  },
)

test('a SuperNode and flwr of Flower 1.41, which have a tunnel for their certificates, go on after a takeover', {
  ...options,
  skip: skip || withoutStunnel || withoutReleases('1.41'),
}, async () => {
  const { deployment } = fleet
  const { ca, directory, environment } = deployment
  for (const node of nodes) node.kill()
  for (const node of nodes) await node.end()
  await ca.issue('python-node')
  const [nodePort, cliPort] = [await freePort(), await freePort()]
  const section = (name: string, port: number, connect: string, pair: string): string =>
    [
      ...[`[${name}]`, 'client = yes', `accept = 127.0.0.1:${port}`, `connect = ${connect}`],
      ...[`cert = ${pair}.pem`, `key = ${pair}.key`, 'CAfile = ca.crt', 'verifyChain = yes', 'checkIP = 127.0.0.1'],
    ].join('\n')
  const sections = [
    section('node', nodePort, deployment.fleetAddress, 'python-node'),
    section('cli', cliPort, deployment.controlAddress, 'cli'),
  ]
  await using tunnel = await startStunnel(directory.path, ['foreground = yes', 'pid =', ...sections, ''].join('\n'))
  const args = ['--insecure', '--superlink', `127.0.0.1:${nodePort}`, '--port', String(await freePort())]
  await using node = startPython('1.41', 'flower-supernode', args, { cwd: directory.path, env: environment })
  await node.line(/SuperNode ID: (\d+)/, patienceMs)
  const options = { cwd: directory.path, env: { ...environment, FLWR_HOME: home.file('flower') } }
  const flwr = (...command: string[]) => runPythonFlwr('1.41', command, options)
  writeConnection(home.file('flower'), cliPort)
  const app = writeBilingualApp(directory.file('bilingual'), { server: 'python', client: 'python' })
  const started = await flwr('run', app, '--run-config', 'nodes=1')
  const [, runId = ''] = /run (\d+)/.exec(started.said) ?? assert.fail(started.said)
  const log = deployment.start('flwr', ['log', runId, '--stream'])
  await log.line(/ROUND 2\/2/, patienceMs)
  await killActive()
  await fleet.active()
  const ended = await log.end(patienceMs)
  await log.heard()
  const all = [log, node, tunnel, fleet.superexec, ...fleet.superlinks].map(({ said }) => said).join('\n----\n')
  assert.equal(ended, 0, all)
  assert.match(log.said, new RegExp(`digest: ${expectedDigest()}`), all)
  const listed = await flwr('ls', '--format', 'json')
  assert.match(listed.stdout, /finished:completed/, listed.said)
})
