import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { test } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { create, toBinary } from '@bufbuild/protobuf'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { startListener } from '../../src/rpc/listener.ts'
import { TestCa } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { MutualTlsSuperlink, somePublicKey } from '../harness/mutual-tls.ts'
import { needsOpenssl } from '../harness/openssl.ts'
import { eventually, TestProgram } from '../harness/program.ts'
import { recordingLogger } from '../harness/recording-logger.ts'

/** What a peer gets for a call: the HTTP status and the reason of a refusal. */
interface Answer {
  readonly status: number
  readonly reason: string
  readonly resumed: boolean
}

/** What each peer is told when it shows its certificate in a handshake of its own, after the reload. */
const fresh = {
  valid: '200',
  revoked: '401 revoked-by-crl',
  expired: '401 certificate-expired',
  none: '401 no-certificate',
  'foreign CA': '401 unknown-ca',
  'role withdrawn': '403 role-not-granted',
} as const
type Kind = keyof typeof fresh

test('resumption never gives more than a handshake', { skip: needsOpenssl }, async (t) => {
  using directory = temporaryDirectory()
  const foreign = await TestCa.create(directory.path, 'foreign')
  const { log, lines } = recordingLogger()
  let hoursLater = 0
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + hoursLater * 3600_000 }
  const policy = (...names: string[]): string =>
    names.map((name) => `[[allow]]\nidentity = "${name}"\nroles = ["supernode"]\n`).join('')
  // Before the reload every certificate is let in; the reload makes them what they are called.
  await using deployment = await MutualTlsSuperlink.start(
    async (file, authority) => {
      writeFileSync(file('cas.pem'), `${authority.issued.certificatePem}${foreign.issued.certificatePem}`)
      writeFileSync(file('policy.toml'), policy('*'))
      writeFileSync(file('list.crl'), await authority.crl([], 1, 4 * 3600_000))
      return [
        ...['--ssl-client-ca-certfile', file('cas.pem'), '--ssl-client-policy', file('policy.toml')],
        ...['--ssl-client-crl', file('list.crl')],
      ]
    },
    log,
    clock,
  )
  const { ca, file } = deployment
  const revoked = await ca.issue('revoked')
  const peers: Record<Kind, Pair | undefined> = {
    valid: await ca.issue('valid'),
    revoked,
    expired: await ca.issue('expired', { notAfter: new Date(Date.now() + 3600_000) }),
    none: undefined,
    'foreign CA': await foreign.issue('stranger'),
    'role withdrawn': await ca.issue('withdrawn'),
  }
  const { port } = deployment.superlink.fleet.address
  const optionsOf = (version: Version, pair: Pair | undefined): ConnectionOptions => ({
    ...{ host: '127.0.0.1', port, ca: ca.issued.certificatePem, minVersion: version, maxVersion: version },
    ...{ ALPNProtocols: ['http/1.1'] },
    ...(pair ? { cert: pair.issued.certificatePem, key: pair.issued.keyPem } : {}),
  })
  const kinds = Object.keys(fresh) as Kind[]
  const versions = ['TLSv1.2', 'TLSv1.3'] as const
  const before = new Map<string, Buffer>()
  for (const version of versions) {
    for (const kind of kinds) {
      const { answer, session } = await callOver(optionsOf(version, peers[kind]))
      assert.equal(
        textOf(answer),
        kind === 'none' ? '401 no-certificate' : '200',
        `${version} ${kind} before the reload`,
      )
      if (session) before.set(`${version} ${kind}`, session)
    }
  }
  hoursLater = 2
  const server = await ca.server()
  writeFileSync(file('list.crl'), await ca.crl([revoked.issued], 2, 4 * 3600_000))
  writeFileSync(file('policy.toml'), policy('valid', 'revoked', 'expired'))
  writeFileSync(file('cas.pem'), ca.issued.certificatePem)
  for (const set of ['server certificate', 'trust in clients'])
    await eventually(`a new ${set}`, () => lines.some((line) => line.includes(`Replaced the ${set}`)))

  const earlySession = await sessionForEarlyData(file, ca.certfile, server)
  for (const version of versions) {
    for (const kind of kinds) {
      const pair = peers[kind]
      const own = optionsOf(version, pair)
      const first = await callOver(own)
      const withSession = async (options: ConnectionOptions, session: Buffer | undefined): Promise<string> => {
        const { answer } = await callOver({ ...options, ...(session ? { session } : {}) })
        assert.equal(answer.resumed, false, `${version} ${kind}`)
        return textOf(answer)
      }
      const old = before.get(`${version} ${kind}`)
      const bare = optionsOf(version, undefined)
      const openssl = async (...args: string[]): Promise<string> =>
        textOf(await callWithOpenssl(file, port, ca.certfile, pair, args))
      const row = {
        fresh: textOf(first.answer),
        resumed: await withSession(own, first.session),
        'resumed without certificate': await withSession(bare, first.session),
        'session from before the reload': await withSession(own, old),
        'the same without certificate': await withSession(bare, old),
        ...(version === 'TLSv1.3'
          ? {
              '0-RTT': await openssl('-sess_in', earlySession, '-early_data', file('request')),
              'post-handshake authentication': await openssl('-enable_pha'),
            }
          : {}),
      }
      const columns = Object.entries(row).map(([attempt, answer]) => `${attempt}: ${answer}`)
      t.diagnostic(`${version} ${kind.padEnd(14)} | ${columns.join(' | ')}`)
      for (const [attempt, answer] of Object.entries(row)) {
        const shown: Kind = attempt.endsWith('without certificate') ? 'none' : kind
        assert.equal(answer, fresh[shown], `${version} ${kind} ${attempt}`)
      }
    }
  }
})

type Version = 'TLSv1.2' | 'TLSv1.3'
type Pair = Awaited<ReturnType<TestCa['issue']>>

const textOf = ({ status, reason }: Pick<Answer, 'status' | 'reason'>): string => `${status} ${reason}`.trim()

const body = toBinary(
  Fleet.method.registerNode.input,
  create(Fleet.method.registerNode.input, { publicKey: somePublicKey }),
)
const head = `POST /v1/fleet/register-node HTTP/1.1\r\nhost: x\r\ncontent-type: application/protobuf\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`
const request = Buffer.concat([Buffer.from(head), body])

/** Node can neither send early data nor offer to authenticate after the handshake; the openssl program can. */
async function callWithOpenssl(
  file: (name: string) => string,
  port: number,
  caFile: string,
  pair: Pair | undefined,
  args: readonly string[],
): Promise<Answer> {
  writeFileSync(file('request'), request)
  const own = pair ? ['-cert', pair.certfile, '-key', pair.keyfile] : []
  const connecting = ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', caFile, '-tls1_3', '-alpn', 'http/1.1']
  await using client = new TestProgram('openssl', spawn('openssl', [...connecting, '-ign_eof', ...own, ...args]))
  client.child.stdin?.end(request)
  await client.end()
  await client.heard()
  const { stdout } = client
  assert.match(stdout, /Verify return code: 0/)
  if (args.includes('-early_data')) assert.match(stdout, /Early data was rejected/)
  assert.doesNotMatch(stdout, /Early data was accepted|^Reused/m)
  const status = Number(/HTTP\/1\.1 (\d+)/.exec(stdout)?.[1] ?? 0)
  return { status, reason: /trellis-refusal-reason: (\S+)/.exec(stdout)?.[1] ?? '', resumed: /^Reused/m.test(stdout) }
}

/** A session that allows early data, from another server with the same certificate. Returns its file. */
async function sessionForEarlyData(file: (name: string) => string, caFile: string, server: Pair): Promise<string> {
  const own = ['-cert', server.certfile, '-key', server.keyfile, '-tls1_3']
  const programs = [spawn('openssl', ['s_server', '-accept', '127.0.0.1:0', ...own, '-early_data'])]
  try {
    let said = ''
    programs[0]?.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const port = await eventually('the other server', () => /ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1])
    const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', caFile, '-tls1_3']
    programs.push(spawn('openssl', [...args, '-sess_out', file('session')]))
    await eventually('a session for early data', () => {
      const told = spawnSync('openssl', ['sess_id', '-in', file('session'), '-noout', '-text'], { encoding: 'utf8' })
      return /Max Early Data: [1-9]/.test(told.stdout)
    })
    return file('session')
  } finally {
    for (const program of programs) program.kill()
  }
}

test('a listener that asks for no certificates does resume sessions, so the test above would see it', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  const { issued } = await ca.server()
  const tls = fixedTlsSource({ certificate: { chainPem: issued.certificatePem, keyPem: issued.keyPem } })
  await using listener = await startListener({
    ...{ name: 'API', address: '127.0.0.1:0', services: [], log: silentLogger, tls },
  })
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options: ConnectionOptions = {
      ...{ host: '127.0.0.1', port: listener.address.port, ca: ca.issued.certificatePem },
      ...{ minVersion: version, maxVersion: version, ALPNProtocols: ['http/1.1'] },
    }
    const first = await callOver(options)
    assert.ok(first.session)
    const second = await callOver({ ...options, session: first.session })
    assert.deepEqual([first.answer.resumed, second.answer.resumed], [false, true], version)
  }
})

test('old versions of TLS and suites without authenticated encryption are refused', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const { port } = deployment.superlink.fleet.address
  const options = { host: '127.0.0.1', port, ca: deployment.ca.issued.certificatePem }
  const failing: ConnectionOptions[] = [
    { ...options, minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' },
    { ...options, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    { ...options, maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA' },
  ]
  for (const one of failing) await assert.rejects(secureConnect(one), /alert|handshake|protocol|version/i)
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = await secureConnect({ ...options, minVersion: version, maxVersion: version })
    assert.equal(socket.getProtocol(), version)
    assert.match(socket.getCipher().name, /GCM|CHACHA20/)
    socket.destroy()
  }
})

/** One call over a connection of its own, and the session that the server gave, if any. */
async function callOver(options: ConnectionOptions): Promise<{ answer: Answer; session: Buffer | undefined }> {
  let session: Buffer | undefined
  const socket = await secureConnect(options)
  socket.on('session', (given: Buffer) => {
    session = given
  })
  const resumed = socket.isSessionReused()
  const answer = await new Promise<Answer>((resolve, reject) => {
    const call = httpsRequest(
      {
        createConnection: () => socket,
        method: 'POST',
        path: '/v1/fleet/register-node',
        headers: { 'content-type': 'application/protobuf', 'content-length': body.length },
      },
      (response) => {
        response.resume()
        const reason = String(response.headers['trellis-refusal-reason'] ?? '')
        response.once('end', () => resolve({ status: response.statusCode ?? 0, reason, resumed }))
      },
    )
    call.once('error', reject)
    call.end(body)
  })
  session ??= socket.getSession()
  socket.destroy()
  return { answer, session }
}

function secureConnect(options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => resolve(socket))
    socket.once('error', reject)
  })
}
