import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2, constants, type OutgoingHttpHeaders } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { eventually } from '../../test/harness/program.ts'
import { limits } from '../base/limits.ts'
import { silentLogger } from '../base/log.ts'
import type { PeerIdentity } from '../identity/caller.ts'
import { parseCertificate } from '../identity/certificate.ts'
import { fixedTlsSource } from '../identity/tls-source.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import type { Method } from './dispatch.ts'
import { type Listener, type ListenerOptions, startListener } from './listener.ts'

const size: Method = {
  ...{ path: '/test/Size', route: 'test/size', streams: false },
  unary: async ({ receive }) => [Buffer.from(String((await receive(limits.messageBytesMax)).length))],
  async *stream() {},
}
const post = (length: number): string =>
  `POST /v1/test/size HTTP/1.1\r\nhost: x\r\ncontent-type: application/protobuf\r\ncontent-length: ${length}\r\n\r\n`

function start(bounds: Partial<ConnectionBounds> = {}, options: Partial<ListenerOptions> = {}): Promise<Listener> {
  return startListener({
    ...{ name: 'test', address: '127.0.0.1:0', services: [], rawMethods: [size], log: silentLogger, bounds },
    ...options,
  })
}

/** Writes now and then until the server hangs up; returns what it said. */
function drip(listener: Listener, first: string, everyMs: number, bytes: string): Promise<string> {
  const socket = connect(listener.address.port, '127.0.0.1')
  socket.write(first)
  const timer = setInterval(() => socket.write(bytes), everyMs)
  return said(socket).finally(() => clearInterval(timer))
}

function said(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  socket.on('error', () => {})
  return new Promise((resolve) => socket.once('close', () => resolve(text)))
}

test('a request whose head or body comes too slowly is ended, and one that takes its time is served', async () => {
  await using listener = await start({ requestHeadMs: 300, bodyWindowMs: 300 })
  assert.match(await drip(listener, 'POST /v1/test/size HTTP/1.1\r\nx-slow: ', 50, 'x'), /^HTTP\/1\.1 408 /)
  const slow = await drip(listener, post(1000), 50, 'x')
  assert.match(slow, /^HTTP\/1\.1 504 /)
  assert.match(slow, /The body came too slowly: less than 30720 bytes in 0\.3 s\./)
  // Twice as long as the window, at a rate that is good enough, also where this process has to wait for a processor.
  await using patient = await start({ bodyWindowMs: 1000 })
  const parts = 28
  const length = limits.bodyBytesPerWindowMin * parts
  const socket = connect(patient.address.port, '127.0.0.1')
  const answer = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(chunk.toString())))
  socket.write(post(length))
  for (let sent = 0; sent < parts; sent++) {
    socket.write(Buffer.alloc(limits.bodyBytesPerWindowMin))
    await new Promise((resolve) => setTimeout(resolve, 75))
  }
  assert.match(await answer, new RegExp(`^HTTP/1\\.1 200 [\\s\\S]*${length}$`))
  socket.destroy()
})

test('in clear, a first segment of one byte says nothing of the wire', async () => {
  await using listener = await start()
  const socket = connect({ port: listener.address.port, host: '127.0.0.1', noDelay: true })
  const preface = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from('000000040000000000', 'hex'),
  ])
  socket.write(preface.subarray(0, 1))
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.write(preface.subarray(1))
  const [frame] = (await once(socket, 'data')) as [Buffer]
  // The settings of a server that speaks HTTP/2, not a page of HTTP/1.1.
  assert.equal(frame[3], 4)
  socket.destroy()
})

test('a connection that says nothing is closed over either wire', async () => {
  await using listener = await start({ requestHeadMs: 300, idleConnectionMs: 300 })
  const silent = connectHttp2(`http://127.0.0.1:${listener.address.port}`)
  assert.equal(await statusOf(silent, {}), 200)
  await new Promise((resolve) => silent.once('close', resolve))
  const http = connect(listener.address.port, '127.0.0.1')
  http.write('POST /')
  assert.match(await said(http), /408/)
})

test('too many headers cost a call, and calls that are taken back cost the connection', async () => {
  await using listener = await start()
  const open = (): ClientHttp2Session => {
    const session = connectHttp2(`http://127.0.0.1:${listener.address.port}`)
    session.on('error', () => {})
    return session
  }
  const headers = (count: number, bytes: number): OutgoingHttpHeaders =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, 'y'.repeat(bytes)]))
  const session = open()
  assert.equal(await statusOf(session, headers(limits.headersMax - 8, 10)), 200)
  await assert.rejects(statusOf(session, headers(limits.headersMax + 1, 10)), /ENHANCE_YOUR_CALM/)
  await assert.rejects(statusOf(session, headers(2, limits.headerBytesMax / 2)), /ENHANCE_YOUR_CALM/)
  // The others of that connection are served.
  assert.equal(await statusOf(session, {}), 200)
  session.destroy()

  const hostile = open()
  let count = 0
  const closed = new Promise((resolve) => hostile.once('close', resolve))
  while (!hostile.closed && !hostile.destroyed && count < limits.streamResetsAtOnce * 10) {
    const call = hostile.request({ ':method': 'POST', ':path': size.path })
    call.on('error', () => {}).resume()
    call.close(constants.NGHTTP2_CANCEL)
    count++
    await new Promise((resolve) => setImmediate(resolve))
  }
  await closed
  assert.ok(count >= limits.streamResetsAtOnce && count < limits.streamResetsAtOnce * 10, `${count} calls`)
  const other = open()
  assert.equal(await statusOf(other, {}), 200)
  other.destroy()
})

test('calls that are reset at once, in whatever way, end nothing but themselves', async () => {
  await using listener = await start()
  for (const code of [constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_CANCEL]) {
    for (const headers of [{ ':path': '/unknown', 'content-type': 'application/grpc' }, { ':path': size.path }]) {
      const session = connectHttp2(`http://127.0.0.1:${listener.address.port}`)
      session.on('error', () => {})
      assert.equal(await statusOf(session, {}), 200)
      for (let count = 0; count < 20; count++) {
        const call = session.request({ ':method': 'POST', ...headers })
        call.on('error', () => {}).resume()
        call.close(code)
      }
      // The server has seen the resets once it responds to what was sent after them.
      await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())))
      assert.equal(await statusOf(session, {}), 200)
      session.destroy()
    }
  }
})

test('a request to an unknown path does not keep its connection for a body', async () => {
  await using listener = await start({ discardedMsMax: 300 })
  const head = (method: string, path: string): string =>
    `${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n`
  for (const [method, path, status] of [
    ['POST', '/x', 404],
    ['GET', '/health', 200],
    ['PUT', '/v1/test/size', 405],
  ] as const) {
    const socket = connect(listener.address.port, '127.0.0.1')
    socket.write(head(method, path))
    assert.match(await said(socket), new RegExp(`^HTTP/1\\.1 ${status} `))
  }
})

test('an identity has its share of the connections, and hears so, unless it may be shared', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  const { issued } = await ca.server()
  const judge =
    (identitySharing: 'refuse' | 'allow') =>
    ([leaf]: readonly Uint8Array[]): PeerIdentity => {
      const { subject, serial, fingerprint, notAfter } = parseCertificate(leaf as Uint8Array)
      const identity = subject.commonNames[0] ?? ''
      return {
        ...{ kind: 'certificate', identity, organization: '', roles: new Set(['supernode'] as const) },
        ...{ serial, fingerprint, notAfter, identitySharing },
      }
    }
  const tls = fixedTlsSource({ certificate: { chainPem: issued.certificatePem, keyPem: issued.keyPem } })
  const common = { tls, clientAuth: 'require' } as const
  await using listener = await start({ connectionsPerIdentityMax: 2 }, { ...common, judge: judge('refuse') })
  await using shared = await start({ connectionsPerIdentityMax: 2 }, { ...common, judge: judge('allow') })
  const [one, two] = [await ca.issue('one'), await ca.issue('two')]
  const call = async (at: Listener, { issued: own }: typeof one): Promise<{ text: string; socket: Socket }> => {
    const options: ConnectionOptions = {
      ...{ host: '127.0.0.1', port: at.address.port, ca: ca.issued.certificatePem, ALPNProtocols: ['http/1.1'] },
      ...{ cert: own.certificatePem, key: own.keyPem },
    }
    const socket = connectTls(options)
    socket.on('error', () => {})
    socket.write(post(0))
    const text = await new Promise<string>((resolve) => socket.once('data', (chunk: Buffer) => resolve(String(chunk))))
    return { text, socket }
  }
  const first = await call(listener, one)
  assert.match(first.text, / 200 /)
  assert.match((await call(listener, one)).text, / 200 /)
  const { text } = await call(listener, one)
  assert.match(text, /^HTTP\/1\.1 429 /)
  assert.match(text, /trellis-refusal-reason: too-many-connections/)
  assert.match(text, /too many open connections \(one, 2\): stop programs that use them/)
  assert.match((await call(listener, two)).text, / 200 /)
  first.socket.destroy()
  await eventually('the end of a connection', () => listener.connections().length === 2)
  assert.match((await call(listener, one)).text, / 200 /)
  for (let count = 0; count < 4; count++) assert.match((await call(shared, one)).text, / 200 /)
})

/** What a gRPC call of nothing is answered with. */
function statusOf(session: ClientHttp2Session, headers: OutgoingHttpHeaders): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = session.request({
      ...{ ':method': 'POST', ':path': size.path, 'content-type': 'application/grpc', te: 'trailers' },
      ...headers,
    })
    call.once('response', ({ ':status': status }) => resolve(Number(status)))
    call.once('error', reject)
    call.resume().end(Buffer.alloc(5))
  })
}
