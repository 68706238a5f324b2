import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { createServer } from 'node:tls'
import { validFor } from '../../test/harness/certificates.ts'
import { secondsToProbe, withoutTcpTimers } from '../../test/harness/tcp-probes.ts'
import { issue } from '../identity/pki.ts'
import { dial } from './dial.ts'

test('an IP address that a certificate has as DNS name is named as the cause, with the remedy', async () => {
  const ca = await issue({ commonName: 'ca', ca: true, ...validFor(1) })
  for (const [dns, expected] of [
    ['127.0.0.1', /names 127\.0\.0\.1 as DNS name, not as IP address: .*alternative name IP:127\.0\.0\.1\.$/],
    ['localhost', /is not for that host name/],
  ] as const) {
    const leaf = await issue({ commonName: 'server', usages: ['server'], dns: [dns], ...validFor(1) }, ca)
    const server = createServer({ cert: leaf.certificatePem, key: leaf.keyPem, ALPNProtocols: ['h2'] })
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    using stack = new DisposableStack()
    stack.defer(() => void server.close())
    const { port } = server.address() as AddressInfo
    const tls = { current: () => ({ rootsPem: ca.certificatePem }), subscribe: () => new DisposableStack() }
    await assert.rejects(dial({ host: '127.0.0.1', port }, tls, ['h2']), expected)
  }
})

test('a connection on which nothing happens is probed, with TLS and without', { skip: withoutTcpTimers }, async () => {
  const ca = await issue({ commonName: 'ca', ca: true, ...validFor(1) })
  const leaf = await issue({ commonName: 'server', usages: ['server'], ips: ['127.0.0.1'], ...validFor(1) }, ca)
  // The byte also acknowledges what the client has sent.
  const serve = (socket: Socket) => void socket.on('error', () => {}).write('x')
  const tls = { current: () => ({ rootsPem: ca.certificatePem }), subscribe: () => new DisposableStack() }
  for (const [server, trust] of [
    [createTcpServer(serve), 'insecure'],
    [createServer({ cert: leaf.certificatePem, key: leaf.keyPem }, serve), tls],
  ] as const) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    using stack = new DisposableStack()
    stack.defer(() => void server.close())
    const { socket } = await dial({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }, trust, [])
    stack.defer(() => void socket.destroy())
    await once(socket, 'data')
    const seconds = secondsToProbe(socket.localPort ?? 0)
    assert.ok(seconds !== undefined && seconds <= 60, `${seconds}`)
  }
})
