import assert from 'node:assert/strict'
import { request as httpsRequest } from 'node:https'
import { test } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { silentLogger } from '../../src/base/log.ts'
import type { Issued } from '../../src/identity/pki.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { startListener } from '../../src/rpc/listener.ts'
import { TestCa, validFor } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { MutualTlsSuperlink } from '../harness/mutual-tls.ts'

/** What a peer gets for a call of the Fleet API that needs a certificate: the HTTP status and the reason of a refusal. */
interface Answer {
  readonly status: number
  readonly reason: string
  readonly resumed: boolean
}

test('resumption never gives more than a handshake', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  using elsewhere = temporaryDirectory()
  const foreign = await TestCa.create(elsewhere.path, 'foreign')
  const day = 86_400_000
  const past = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }
  const peers: Record<string, Issued | undefined> = {
    valid: (await deployment.ca.issue('node', validFor(1))).issued,
    expired: (await deployment.ca.issue('old', past)).issued,
    none: undefined,
    foreign: (await foreign.issue('stranger')).issued,
  }
  const { port } = deployment.superlink.fleet.address
  const rows: string[] = []
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const [kind, issued] of Object.entries(peers)) {
      const options: ConnectionOptions = {
        host: '127.0.0.1',
        port,
        ca: deployment.ca.issued.certificatePem,
        minVersion: version,
        maxVersion: version,
        ALPNProtocols: ['http/1.1'],
        ...(issued ? { cert: issued.certificatePem, key: issued.keyPem } : {}),
      }
      const first = await callOver(options)
      rows.push(`${version} ${kind} fresh: ${first.answer.status} ${first.answer.reason}`)
      // The session of this peer, offered again with its own certificate, and with none.
      for (const [how, again] of [
        ['resumed', options],
        ['resumed without certificate', { ...options, cert: undefined, key: undefined } as ConnectionOptions],
      ] as const) {
        const second = await callOver({ ...again, ...(first.session ? { session: first.session } : {}) })
        rows.push(
          `${version} ${kind} ${how}: ${second.answer.status} ${second.answer.reason}${second.answer.resumed ? ' (session reused)' : ''}`,
        )
      }
    }
  }
  // 403 for the valid one: it was let in, and the node id 0 of an empty request is not its own.
  const expected = ['TLSv1.2', 'TLSv1.3'].flatMap((version) => [
    `${version} valid fresh: 403 node-of-another-identity`,
    `${version} valid resumed: 403 node-of-another-identity`,
    `${version} valid resumed without certificate: 401 no-certificate`,
    ...['fresh', 'resumed'].map((how) => `${version} expired ${how}: 401 certificate-expired`),
    `${version} expired resumed without certificate: 401 no-certificate`,
    ...['fresh', 'resumed', 'resumed without certificate'].map((how) => `${version} none ${how}: 401 no-certificate`),
    ...['fresh', 'resumed'].map((how) => `${version} foreign ${how}: 401 unknown-ca`),
    `${version} foreign resumed without certificate: 401 no-certificate`,
  ])
  assert.deepEqual(rows, expected)
})

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
    const request = httpsRequest(
      {
        createConnection: () => socket,
        method: 'POST',
        path: '/v1/fleet/pull-messages',
        headers: { 'content-type': 'application/protobuf', 'content-length': 0 },
      },
      (response) => {
        response.resume()
        const reason = String(response.headers['trellis-refusal-reason'] ?? '')
        response.once('end', () => resolve({ status: response.statusCode ?? 0, reason, resumed }))
      },
    )
    request.once('error', reject)
    request.end()
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
