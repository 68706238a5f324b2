import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { TestCa } from '../harness/certificates.ts'
import { Deployment } from '../harness/deployment.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { opensshPublicKey } from '../harness/openssh.ts'
import { start } from '../harness/program.ts'

test('with a SuperLink that is not what config.toml says, one sentence tells what is wrong', async () => {
  await using secure = await Deployment.create({ mutualTls: true })
  const { ca, directory, controlAddress, fleetAddress } = secure
  await ca.issue('stranger')
  const other = await TestCa.create(directory.path, 'other-ca')
  const foreign = await other.issue('foreign')
  await using open = await Deployment.create()
  const port = controlAddress.split(':').at(-1)
  const pair = (certfile: string, keyfile: string): string =>
    `client-certificate = "${certfile}"\nclient-private-key = "${keyfile}"`
  const mine = pair(directory.file('cli.pem'), directory.file('cli.key'))
  const trust = `root-certificates = "${ca.certfile}"`
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['good', `address = "${controlAddress}"\n${trust}\n${mine}`, /There are no runs yet/],
    [
      'no-certificate',
      `address = "${controlAddress}"\n${trust}`,
      /requires a client certificate and none was presented.*client-certificate/,
    ],
    ['foreign', `address = "${controlAddress}"\n${trust}\n${pair(foreign.certfile, foreign.keyfile)}`, /client CA/],
    [
      'wrong-ca',
      `address = "${controlAddress}"\nroot-certificates = "${other.certfile}"`,
      /not signed by a trusted CA/,
    ],
    ['wrong-name', `address = "[::ffff:127.0.0.1]:${port}"\n${trust}\n${mine}`, /is not for that host name/],
    ['plain-to-tls', `address = "${controlAddress}"\ninsecure = true`, /if it is a TLS port, connect without/],
    [
      'tls-to-plain',
      `address = "${open.controlAddress}"\n${trust}`,
      /does not speak TLS: start the server with certificates/,
    ],
    ['unreachable', 'address = "127.0.0.1:9"\ninsecure = true', /No server listens on 127\.0\.0\.1:9/],
    ['no-host', 'address = "nothing.invalid:9093"\ninsecure = true', /host name of nothing\.invalid:9093/],
    ['fleet', `address = "${fleetAddress}"\n${trust}\n${mine}`, /does not serve the Control API: correct 'address'/],
    [
      'missing-ca',
      `address = "${controlAddress}"\nroot-certificates = "/nothing.crt"`,
      /root-certificates.*nothing\.crt/,
    ],
    [
      'swapped',
      `address = "${controlAddress}"\n${trust}\n${pair(directory.file('cli.key'), directory.file('cli.pem'))}`,
      /client-certificate.*holds a private key where a certificate belongs/,
    ],
    [
      'mismatch',
      `address = "${controlAddress}"\n${trust}\n${pair(directory.file('cli.pem'), directory.file('stranger.key'))}`,
      /client-private-key.*does not belong to the certificate/,
    ],
  ]
  const config = cases.map(([name, lines]) => `[superlink.${name}]\n${lines}\n`).join('')
  writeFileSync(join(secure.environment.FLWR_HOME as string, 'config.toml'), config)
  for (const [name, , sentence] of cases) {
    const listed = await secure.flwr('ls', name)
    assert.match(listed.said, sentence, name)
    assert.equal(listed.status, name === 'good' ? 0 : 1, `${name}: ${listed.said}`)
    if (name !== 'good') assert.equal(listed.said.trim().split('\n').length, 1, listed.said)
  }
})

test('where certificates are required, registering a key says that it is not needed and changes nothing', async () => {
  await using deployment = await Deployment.create({ mutualTls: true })
  writeFileSync(deployment.directory.file('node.pub'), opensshPublicKey())
  const registered = await deployment.flwr('supernode', 'register', 'node.pub')
  assert.match(registered.said, /Not needed and nothing was changed/)
  assert.match((await deployment.flwr('supernode', 'ls')).stdout, /There are no SuperNodes/)
})

test('a follower outlives a SuperLink that is killed, and the log it prints has every line once', async () => {
  await using deployment = await Deployment.create()
  await deployment.startSupernode('node-1')
  await deployment.startSupernode('node-2')
  const config = 'rounds = 60\npause-ms = 100'
  const app = deployment.writeApp({ server: countingServer, client: countingClient, config })
  const started = JSON.parse((await deployment.flwr('run', app, '--format', 'json')).stdout)
  const follower = deployment.start('flwr', ['log', started['run-id']])
  await follower.line(/\[ROUND 2\/60\]/)
  deployment.superlink.kill('SIGKILL')
  await deployment.superlink.end()
  await follower.line(/Waiting for the SuperLink: /)
  await deployment.startSuperlink()
  await follower.line(/The SuperLink is back\./)
  await deployment.flwr('stop', started['run-id'])
  assert.equal(await follower.end(), 0)
  const { stdout } = await deployment.flwr('log', started['run-id'], '--show')
  assert.equal(follower.stdout, stdout)
})

test('a reader that closes the pipe ends flwr quietly, and the run goes on', async () => {
  await using deployment = await Deployment.create()
  await deployment.startSupernode('node-1')
  await deployment.startSupernode('node-2')
  const app = deployment.writeApp({ server: countingServer, client: countingClient, config: 'rounds = 3' })
  const reader = deployment.start('flwr', ['run', app, '--stream'])
  await reader.line(/Successfully started run/)
  reader.child.stdout?.destroy()
  assert.equal(await reader.end(), 0)
  assert.match(reader.said, /The run goes on/)
  assert.doesNotMatch(reader.said, /EPIPE|bug/)
})

test('Ctrl-C ends a command that waits for an answer, with the status of an interrupted program', async () => {
  using directory = temporaryDirectory()
  await using silent = createServer(() => {}).listen(0, '127.0.0.1')
  await new Promise((resolve) => silent.once('listening', resolve))
  const { port } = silent.address() as { port: number }
  writeFileSync(directory.file('config.toml'), `[superlink.silent]\naddress = "127.0.0.1:${port}"\ninsecure = true\n`)
  const connected = new Promise<void>((resolve) =>
    silent.once('connection', (socket) => {
      // It reads, so that it sees the end, and says nothing.
      socket.on('error', () => {}).resume()
      resolve()
    }),
  )
  await using waiting = start('flwr', ['ls', 'silent'], { env: { FLWR_HOME: directory.path } })
  await connected
  waiting.kill('SIGINT')
  assert.equal(await waiting.end(), 130)
  assert.doesNotMatch(waiting.said, /bug/)
})
