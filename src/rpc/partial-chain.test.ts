import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { createServer } from 'node:tls'
import { validFor } from '../../test/harness/certificates.ts'
import { issue } from '../identity/pki.ts'
import { dial } from './dial.ts'

test('a root file with the intermediate CA alone is enough, whether the server sends that CA or not', async () => {
  const root = await issue({ commonName: 'root', ca: true, ...validFor(1) })
  const intermediate = await issue({ commonName: 'intermediate', ca: true, ...validFor(1) }, root)
  const stranger = await issue({ commonName: 'intermediate', ca: true, ...validFor(1) }, root)
  const leaf = await issue(
    { commonName: 'server', usages: ['server'], dns: ['localhost'], ...validFor(1) },
    intermediate,
  )
  for (const sent of ['', intermediate.certificatePem]) {
    const server = createServer({ cert: leaf.certificatePem + sent, key: leaf.keyPem, ALPNProtocols: ['h2'] })
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    using stack = new DisposableStack()
    stack.defer(() => void server.close())
    const address = { host: 'localhost', port: (server.address() as AddressInfo).port }
    const connect = (rootsPem: string) =>
      dial(address, { current: () => ({ rootsPem }), subscribe: () => new DisposableStack() }, ['h2'])
    for (const trusted of [intermediate, ...(sent ? [root] : [])]) {
      const { socket, alpn } = await connect(trusted.certificatePem)
      assert.equal(alpn, 'h2')
      socket.destroy()
    }
    await assert.rejects(connect(stranger.certificatePem), /is not signed by a trusted CA/)
  }
})
