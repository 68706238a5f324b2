import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { test } from 'node:test'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { fetchBounded } from './bounded-fetch.ts'

async function serving(server: Server & { closeAllConnections(): void }, stack: AsyncDisposableStack): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const bounds = { bytesMax: 1000, deadlineMs: 60_000 }
/** For servers that never respond in time, however busy the machine is. */
const soon = { ...bounds, deadlineMs: 300 }

test('what is fetched is bounded in size and time, to the last byte, and comes from nowhere else', async () => {
  await using stack = new AsyncDisposableStack()
  const answers: Readonly<Record<string, RequestListener>> = {
    '/good': (_, response) => response.end('x'.repeat(1000)),
    '/large': (_, response) => response.end('x'.repeat(1001)),
    '/endless': (_, response) => {
      const timer = setInterval(() => response.write('x'), 20)
      response.once('close', () => clearInterval(timer))
    },
    '/cut': (_, response) => response.writeHead(200, { 'content-length': 2 }).write('x', () => response.socket?.end()),
    '/moved': (_, response) => response.writeHead(302, { location: '/good' }).end(),
  }
  const port = await serving(
    createServer((request, response) => answers[request.url ?? '']?.(request, response)),
    stack,
  )
  const url = (path: string): string => `http://127.0.0.1:${port}${path}`
  assert.equal((await fetchBounded({ url: url('/good'), ...bounds })).bytes.length, 1000)
  assert.equal((await fetchBounded({ url: url('/moved'), ...bounds })).status, 302)
  await assert.rejects(fetchBounded({ url: url('/large'), ...bounds }), /answers with more than 1000 bytes/)
  await assert.rejects(fetchBounded({ url: url('/endless'), ...soon }), /did not answer in 0\.3 s/)
  for (const path of ['/large', '/cut'])
    assert.equal((await fetchBounded({ url: url(path), ...bounds, ignoresBody: true })).status, 200)
  await assert.rejects(fetchBounded({ url: url('/silent'), ...soon }), /did not answer in 0\.3 s/)
  await assert.rejects(fetchBounded({ url: 'http://127.0.0.1:1/', ...bounds }), /refuses connections/)
})

test('a server whose certificate is of the site is trusted where the site says so', async () => {
  await using stack = new AsyncDisposableStack()
  const { path } = stack.use(temporaryDirectory())
  const ca = await TestCa.create(path)
  const { certificatePem: cert, keyPem: key } = (await ca.server()).issued
  const port = await serving(
    createHttpsServer({ cert, key }, (_, response) => response.end('list')),
    stack,
  )
  const asked = { url: `https://127.0.0.1:${port}/`, bytesMax: 1000, deadlineMs: 5000 }
  assert.equal((await fetchBounded({ ...asked, ca: [ca.issued.certificatePem] })).bytes.toString(), 'list')
  await assert.rejects(fetchBounded(asked), /cannot be reached \((UNABLE|SELF_SIGNED)/)
})
