import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { test } from 'node:test'
import { RpcError } from '../rpc/rpc-error.ts'
import { findGeneration } from './generation.ts'

async function ask(server: Server, patienceMs?: number): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await findGeneration(`127.0.0.1:${(server.address() as AddressInfo).port}`, 'insecure', patienceMs)
  } catch (error) {
    assert.ok(error instanceof RpcError && error.retryable, 'it is asked again')
    return error.message
  } finally {
    server.close()
  }
}

test('which API for apps a server has is heard from its first bytes', async () => {
  const http = createHttpServer((_request, response) => void response.writeHead(404).end())
  assert.equal(await ask(http), 'runtime')
  assert.equal(await ask(createHttp2Server() as unknown as Server), 'appio')
})

test('a server that says nothing is asked again, with a hint where it may want TLS', async () => {
  assert.match(await ask(createServer(), 50), /did not answer in time/)
  assert.match(
    await ask(createServer((socket) => socket.end())),
    /closed the connection without a response: if it is a TLS port/,
  )
})
