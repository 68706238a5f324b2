import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { createServer } from 'node:tls'
import { handshakeFailure } from './handshake-failure.ts'

test('a handshake that fails for a reason of OpenSSL is one line, without the source files of OpenSSL', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect(port, '127.0.0.1', () => client.end(Buffer.from('16030100050100000100', 'hex')))
  client.on('error', () => {})
  const [error] = await once(server, 'tlsClientError')
  server.close()
  assert.match(error.message, /\.c:\d+/)
  assert.equal(handshakeFailure(error), 'The TLS handshake failed (length too short).')
})
