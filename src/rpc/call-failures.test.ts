import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { constants, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { create, toBinary } from '@bufbuild/protobuf'
import { TestCa, validFor } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { limits } from '../base/limits.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import { PullObjectResponseSchema } from '../gen/flwr/proto/message_pb.ts'
import { issue } from '../identity/pki.ts'
import { fixedTlsSource } from '../identity/tls-source.ts'
import { type CallFailure, callFailures, waitingHelps } from './call-failures.ts'
import { type ChannelOptions, createChannel, onceOnlyPaths } from './channel.ts'
import { dial } from './dial.ts'
import { RpcError } from './rpc-error.ts'

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const { path } = stack.use(temporaryDirectory())
const ca = await TestCa.create(path)
const stranger = await TestCa.create(path, 'stranger')
const tls = fixedTlsSource({ rootsPem: ca.issued.certificatePem })
type Request = NonNullable<Parameters<TestCa['issue']>[1]>

/** Listens on a port of its own until the end of the file. */
async function portOf(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket.on('error', () => {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stack.defer(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

async function tlsServer(
  request: Request = {},
  issuer = ca,
  onConnection: (socket: TLSSocket) => void = () => {},
): Promise<Server> {
  const { issued } = await issuer.issue('server', { usages: ['server'], ips: ['127.0.0.1'], ...request })
  const options = { cert: issued.certificatePem, key: issued.keyPem, ALPNProtocols: ['h2'] }
  return createTlsServer(options, (socket) => onConnection(socket.on('error', () => {})))
}

async function failureOf(work: Promise<unknown>): Promise<RpcError> {
  const error = await work.then(
    () => assert.fail('it did not fail'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof RpcError, String(error))
  return error
}

async function callAt(port: number, options: Partial<ChannelOptions> = {}, timeoutMs = 5000): Promise<RpcError> {
  using channel = createChannel({ address: `127.0.0.1:${port}`, tls: 'insecure', component: 'test', ...options })
  return await failureOf(channel.call(Fleet.method.activateNode, {}, { timeoutMs }))
}

/** A server over HTTP that responds to every call in this way. */
async function responding(
  status: number,
  headers: Record<string, string>,
  body = '{"detail":"Not now."}',
): Promise<RpcError> {
  const server = createHttpServer((request, response) => {
    request.resume()
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
  })
  return callAt(await portOf(server), { transport: 'http' })
}

const dialTls = async (server: Server, timeoutMs?: number): Promise<RpcError> =>
  failureOf(dial({ host: '127.0.0.1', port: await portOf(server) }, tls, ['h2'], timeoutMs))
const hour = 3600_000
const refusal = (reason: string) => responding(401, { 'trellis-refusal-reason': reason })

test('if a root certificate of the client has expired, the sentence names it and not the certificate of the server', async () => {
  const [notBefore, notAfter] = [new Date(Date.now() - 2 * hour), new Date(Date.now() - hour)]
  const old = await issue({ commonName: 'Old CA', ca: true, notBefore, notAfter })
  const below = await issue({ ips: ['127.0.0.1'], usages: ['server'], ...validFor(1) }, old)
  const port = await portOf(createTlsServer({ cert: below.certificatePem, key: below.keyPem }))
  const saidWith = async (rootsPem: string): Promise<string> =>
    (await failureOf(dial({ host: '127.0.0.1', port }, fixedTlsSource({ rootsPem }), ['h2']))).message
  const name = /root certificate CN=Old CA \(on .*Z\) has expired: put the current certificate of the CA into the file/
  assert.match(await saidWith(old.certificatePem), name)
  const both = /or its CA has expired: renew it at the server, or if it is of CN=Old CA \(on .*Z\), put the current/
  assert.match(await saidWith(ca.issued.certificatePem + old.certificatePem), both)
})

/** Brings each failure about, for real where a server can. */
const scenes: Record<CallFailure, () => Promise<RpcError>> = {
  'name-unknown': () => failureOf(dial({ host: 'a..b', port: 1 }, 'insecure', [])),
  'connection-refused': async () => {
    const server = createTcpServer()
    const port = await portOf(server)
    await new Promise((resolve) => server.close(resolve))
    return callAt(port)
  },
  'connection-timeout': () => dialTls(createTcpServer(), 50),
  'handshake-cut': () => dialTls(createTcpServer((socket) => socket.destroy())),
  unreachable: () => failureOf(dial({ host: '255.255.255.255', port: 9 }, 'insecure', [])),
  'settings-cut': async () => callAt(await portOf(await tlsServer({}, ca, (socket) => socket.destroy())), { tls }),
  'settings-late': async () => callAt(await portOf(await tlsServer()), { tls, http2SettingsMs: 50 }),
  'server-untrusted': async () => dialTls(await tlsServer({}, stranger)),
  'server-misnamed': async () => dialTls(await tlsServer({ ips: ['127.0.0.2'] })),
  'server-out-of-dates': async () => {
    const [notBefore, notAfter] = [new Date(Date.now() - 2 * hour), new Date(Date.now() - hour)]
    return dialTls(await tlsServer({ notBefore, notAfter }))
  },
  'server-revoked': async () => {
    const server = await tlsServer()
    server.on('OCSPRequest', (_leaf, _issuer, done: (error: null, der: Buffer) => void) => done(null, Buffer.from('?')))
    return dialTls(server)
  },
  'not-tls': () => dialTls(createHttpServer()),
  'tls-failed': async () => {
    const server = createTlsServer({ ALPNProtocols: ['h2'], ciphers: 'PSK', maxVersion: 'TLSv1.2' })
    return dialTls(server)
  },
  'not-grpc': async () => {
    const server = await tlsServer({}, ca, (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'.repeat(4)))
    return callAt(await portOf(server), { tls })
  },
  'other-server': () => responding(404, { 'content-type': 'text/html' }, '<html>default backend</html>'),
  'connection-broken': async () => {
    const server = createHttpServer((_, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('x')
      setImmediate(() => response.destroy())
    })
    return callAt(await portOf(server), { transport: 'http' })
  },
  untaken: async () => {
    const server = createHttp2Server()
    server.on('stream', (stream) => stream.on('error', () => {}).close(constants.NGHTTP2_REFUSED_STREAM))
    return callAt(await portOf(server as unknown as Server), { transport: 'grpc' })
  },
  replaced: async () => new RpcError('unavailable', 'replaced', { kind: 'replaced' }),
  'no-response': async () => callAt(await portOf(createHttpServer()), { transport: 'http' }, 50),
  unavailable: () => responding(502, {}, 'Bad Gateway'),
  busy: () => responding(429, { 'retry-after': '7' }),
  'server-fault': () => responding(500, {}),
  'certificate-refused': () => refusal('unknown-ca'),
  'revocation-unknown': () => refusal('revocation-unknown'),
  'too-many-connections': () => refusal('too-many-connections'),
  refused: () => responding(403, {}),
  malformed: () => responding(200, {}, '\xff\xff\xff'),
  closed: async () => {
    const channel = createChannel({ address: '127.0.0.1:1', tls: 'insecure', component: 'test' })
    channel.close()
    return failureOf(channel.call(Fleet.method.activateNode, {}))
  },
}

for (const [failure, { seen }] of Object.entries(callFailures) as [CallFailure, { seen: string }][]) {
  test(`${failure}: ${seen}`, async () => {
    const error = await scenes[failure]()
    assert.equal(error.failure, failure, error.message)
    assert.match(error.message, /^[^\n]{3,400}$/)
  })
}

test('a busy server says how long to wait, in seconds or milliseconds, within bounds', async () => {
  assert.equal((await responding(429, { 'retry-after': '7' })).retryAfterMs, 7000)
  assert.equal((await responding(503, { 'trellis-retry-after-ms': '1500', 'retry-after': '9' })).retryAfterMs, 1500)
  assert.equal((await responding(503, { 'retry-after': '999999' })).retryAfterMs, 300_000)
  assert.equal((await responding(503, { 'retry-after': 'Sun, 29 Nov 2026 00:00:00 GMT' })).retryAfterMs, undefined)
})

test('a server in clear that was silent at first is asked for HTTP/2 again, and stays so if it speaks that', async () => {
  let isSilent = true
  const http2 = createHttp2Server()
  http2.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(Buffer.alloc(5))
  })
  const server = createTcpServer((socket) => {
    if (isSilent) socket.destroy()
    else http2.emit('connection', socket)
  })
  const address = `127.0.0.1:${await portOf(server)}`
  using channel = createChannel({ address, tls: 'insecure', component: 'test' })
  await failureOf(channel.call(Fleet.method.activateNode, {}))
  isSilent = false
  assert.equal((await channel.call(Fleet.method.activateNode, {})).message.nodeId, 0n)
})

test('a server that ends its connection in the same breath as it begins to speak HTTP/2 is one to wait for', async () => {
  const settings = Buffer.from('000000040000000000', 'hex')
  const goaway = Buffer.from('0000080700000000000000000000000002', 'hex')
  const server = await tlsServer({}, ca, (socket) => socket.end(Buffer.concat([settings, goaway])))
  const { failure } = await callAt(await portOf(server), { tls })
  assert.ok(waitingHelps(failure, { tries: 1e6, hasWorked: false }), failure)
})

test('waiting helps always, at some tries, after a success, or not at all', () => {
  const helps = (failure: CallFailure, tries: number, hasWorked: boolean) => waitingHelps(failure, { tries, hasWorked })
  assert.deepEqual([helps('settings-cut', 1e6, false), helps('refused', 0, true)], [true, false])
  assert.deepEqual([helps('server-untrusted', 0, false), helps('server-untrusted', 1e6, true)], [false, true])
  assert.deepEqual([helps('server-fault', 3, true), helps('server-fault', 4, true)], [true, false])
})

test('a call that must not be made twice is not repeated, and no kept connection is used for it', async () => {
  const known = Control.methods.map(({ name }) => `/${Control.typeName}/${name}`)
  assert.ok([...onceOnlyPaths].every((path) => known.includes(path)))
  const seen: string[] = []
  const server = createHttpServer((request, response) => {
    seen.push(String(request.url))
    request.resume()
    if (seen.length === 1) response.writeHead(200, { 'content-type': 'application/protobuf' }).end()
    else request.socket.resetAndDestroy()
  })
  const port = await portOf(server)
  using channel = createChannel({ address: `127.0.0.1:${port}`, tls: 'insecure', transport: 'http', component: 'test' })
  await channel.call(Control.method.listRuns, {})
  const error = await failureOf(channel.call(Control.method.startRun, {}))
  assert.ok(error.retryable)
  assert.deepEqual(seen, ['/v1/control/list-runs', '/v1/control/start-run'])
})

test('a length that a server names costs nothing before its bytes arrive, and is bounded', async () => {
  const frame = (length: number): Buffer => {
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(length, 1)
    return prefix
  }
  const grpcAt = async (first: Buffer): Promise<RpcError> => {
    const server = createHttp2Server()
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => {}).respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.write(first)
    })
    return callAt(await portOf(server as unknown as Server), { transport: 'grpc' }, 100)
  }
  const httpAt = async (length: number): Promise<RpcError> => {
    const server = createHttpServer((_, response) => {
      response.writeHead(200, { 'content-length': length }).write('x')
    })
    return callAt(await portOf(server), { transport: 'http' }, 100)
  }
  const before = process.memoryUsage().arrayBuffers
  const [fits, tooLarge] = [60 * 1024 * 1024, 65 * 1024 * 1024]
  for (let count = 0; count < 4; count++) {
    assert.equal((await grpcAt(frame(fits))).failure, 'no-response')
    assert.notEqual((await httpAt(fits)).failure, 'malformed')
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 40 * 1024 * 1024)
  assert.match((await grpcAt(frame(tooLarge))).message, /larger than the limit of 67108864 bytes/)
  assert.match((await httpAt(tooLarge)).message, /larger than the limit of 67108864 bytes/)
})

test('a second message in the response to a unary call is malformed, and what the first one brought is closed', async () => {
  const object = toBinary(
    PullObjectResponseSchema,
    create(PullObjectResponseSchema, { objectContent: new Uint8Array(limits.objectInMemoryBytesMax + 1) }),
  )
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(object.length, 1)
  const server = createHttp2Server()
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {}).respond({ ':status': 200, 'content-type': 'application/grpc' })
    for (let count = 0; count < 2; count++) stream.write(Buffer.concat([prefix, object]))
  })
  const address = `127.0.0.1:${await portOf(server as unknown as Server)}`
  using channel = createChannel({ address, tls: 'insecure', transport: 'grpc', component: 'test' })
  let open = 0
  const onClosed = (): void => {
    open -= 1
  }
  const openFile = () => IncomingFile.create(join(path, String(++open)), { onClosed })
  const error = await failureOf(channel.call(Fleet.method.pullObject, {}, { files: { openFile } }))
  assert.match(error.message, /sent more than one message for one response/)
  assert.equal(error.kind, 'protocol')
  assert.equal(open, 0)
})
