import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { createChannel } from './channel.ts'
import { RpcError } from './rpc-error.ts'

/** What a client over gRPC says of a proxy that responds with this status and an error page, and reads no body. */
async function errorOf(status: number): Promise<RpcError> {
  const server = createServer()
  server.on('sessionError', () => {})
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': status, 'content-type': 'text/html' })
    stream.end('<html><body>Error</body></html>', () => stream.close())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  using stack = new DisposableStack()
  stack.defer(() => void server.close())
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  using channel = createChannel({ address, tls: 'insecure', transport: 'grpc', component: 'test' })
  const fab = { hashStr: 'x', content: new Uint8Array(2 << 20) }
  const error = await channel.call(Control.method.startRun, { fab }).catch((thrown: unknown) => thrown)
  assert.ok(error instanceof RpcError, String(error))
  return error
}

/** The same over HTTP/1.1, where the proxy responds before it has the body, and takes the rest of it without reading it. */
async function httpErrorOf(status: number): Promise<RpcError> {
  const server = createHttpServer((request, response) => {
    request.resume()
    response
      .writeHead(status, { 'content-type': 'text/html', connection: 'close' })
      .end('<html><body>Error</body></html>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  using stack = new DisposableStack()
  stack.defer(() => void server.close())
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  using channel = createChannel({ address, tls: 'insecure', transport: 'http', component: 'test' })
  const fab = { hashStr: 'x', content: new Uint8Array(8 << 20) }
  const error = await channel.call(Control.method.startRun, { fab }).catch((thrown: unknown) => thrown)
  assert.ok(error instanceof RpcError, String(error))
  return error
}

test('the HTTP error of a proxy in front of an HTTP API is said with its number, and whether waiting helps', async () => {
  const tooLarge = await httpErrorOf(413)
  assert.match(tooLarge.message, /HTTP status 413: the request is too large for a proxy there; raise its limit/)
  assert.equal(tooLarge.retryable, false)
  const noServer = await httpErrorOf(502)
  assert.match(noServer.message, /HTTP status 502: a proxy there does not reach its server\.$/)
  assert.equal(noServer.retryable, true)
})

test('the HTTP error of a proxy is said with its number, and whether waiting helps', async () => {
  const tooLarge = await errorOf(413)
  assert.match(tooLarge.message, /HTTP status 413: the request is too large for a proxy there; raise its limit/)
  assert.equal(tooLarge.retryable, false)
  const noServer = await errorOf(502)
  assert.match(noServer.message, /HTTP status 502: a proxy there does not reach its server\.$/)
  assert.equal(noServer.retryable, true)
})
