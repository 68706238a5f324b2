import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { constants, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { test } from 'node:test'
import { DomainError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import { formatAddress } from './address.ts'
import { createChannel, createClient, type RpcError } from './channel.ts'
import { startListener } from './listener.ts'
import { callerKind, defineService, type Service, type ServiceHandlers } from './service.ts'

const unsupported = () => {
  throw new DomainError('unsupported', 'not here')
}

type Anyone = { readonly anyone: undefined }

/** Every method is refused except those given. */
function service<S extends Service['desc']>(desc: S, handlers: Partial<ServiceHandlers<S, Anyone>>): Service {
  const all = Object.fromEntries(desc.methods.map((method) => [method.localName, unsupported]))
  const row = { caller: 'anyone', of: 'caller', changes: false, body: 'content' } as const
  return defineService<S, Anyone>(desc, {
    access: Object.fromEntries(desc.methods.map((method) => [method.localName, row])) as never,
    callers: { anyone: callerKind(async () => undefined) },
    handlers: { ...all, ...handlers } as ServiceHandlers<S, Anyone>,
  })
}

const services = [
  service(Fleet, {
    activateNode: (request, call) => ({ nodeId: BigInt(request.publicKey.length) + BigInt(call.waitMs ?? 0) }),
    pullObject: () => ({ objectFound: true, objectAvailable: true, objectContent: new Uint8Array(5 * 1024 * 1024) }),
    pullMessages: () => ({ messagesList: [{ content: {} }] }),
  }),
  service(Control, {
    async *streamLogs(request) {
      for (let line = 1; line <= 3; line++) yield { logOutput: `${request.runId}:${line}\n`, latestTimestamp: line }
    },
    stopRun() {
      throw new DomainError('run-not-found')
    },
    listRuns() {
      throw new DomainError('too-many-calls', undefined, { retryAfterMs: 1500 })
    },
  }),
]

for (const transport of ['grpc', 'http'] as const) {
  test(`a call reaches its handler and comes back over ${transport}`, async () => {
    await using listener = await startListener({ name: 'test', address: '127.0.0.1:0', services, log: silentLogger })
    using channel = createChannel({
      address: formatAddress(listener.address),
      tls: 'insecure',
      transport,
      component: 'test',
    })
    const fleet = createClient(Fleet, channel)
    const control = createClient(Control, channel)

    assert.equal((await fleet.activateNode({ publicKey: new Uint8Array(7) })).nodeId, 7n)
    assert.equal((await fleet.pullObject({})).objectContent.length, 5 * 1024 * 1024)
    assert.ok((await fleet.pullMessages({})).messagesList[0]?.content, 'empty content stays present')

    const held = await channel.call(Fleet.method.activateNode, {}, { waitMs: 90_000 })
    assert.deepEqual([held.message.nodeId, held.waited], [30_000n, true], 'the wait is bounded and acknowledged')

    const lines: string[] = []
    for await (const part of control.streamLogs({ runId: 9n })) lines.push(part.logOutput)
    assert.deepEqual(lines, ['9:1\n', '9:2\n', '9:3\n'])

    await assert.rejects(control.stopRun({ runId: 1n }), (error: RpcError) => {
      assert.equal(error.status, 'not-found')
      assert.match(error.message, /^Run ID not found\.?$/)
      return true
    })
    await assert.rejects(control.listRuns({}), { status: 'unavailable', retryAfterMs: 2000 })
  })
}

test('a channel without a preference speaks gRPC to a plain listener', async () => {
  await using listener = await startListener({ name: 'test', address: '127.0.0.1:0', services, log: silentLogger })
  using channel = createChannel({ address: formatAddress(listener.address), tls: 'insecure', component: 'test' })
  assert.equal((await createClient(Fleet, channel).activateNode({})).nodeId, 0n)
})

test('a refused connection is one sentence that names the address', async () => {
  await using listener = await startListener({ name: 'test', address: '127.0.0.1:0', services, log: silentLogger })
  const address = formatAddress(listener.address)
  await listener.close()
  using channel = createChannel({ address, tls: 'insecure', component: 'test' })
  await assert.rejects(createClient(Fleet, channel).activateNode({}), (error: RpcError) => {
    assert.equal(error.kind, 'unreachable')
    assert.ok(error.retryable)
    assert.match(error.message, new RegExp(`No server listens on ${address}`))
    return true
  })
})

test('a port in use ends the start with a sentence', async () => {
  await using first = await startListener({ name: 'test', address: '127.0.0.1:0', services, log: silentLogger })
  const address = formatAddress(first.address)
  await assert.rejects(startListener({ name: 'test', address, services, log: silentLogger }), {
    message: `Port in server address ${address} is already in use.`,
  })
})

test('a server of another release is spoken to without a version when it speaks the same wire, else its refusal is heard', async () => {
  for (const [release, sameWire] of [
    ['1.40.0', true],
    ['1.36.0', false],
  ] as const) {
    const seen: IncomingHttpHeaders[] = []
    const server = createServer((request, response) => {
      seen.push(request.headers)
      if (request.headers['flwr-package-version'] === undefined)
        return void response.writeHead(200, { 'content-type': 'application/protobuf' }).end()
      const detail = 'Runtime version compatibility check failed.'
      const extra = `SuperLink version ${release} detected a mismatch: received test version 1.41.0.`
      response.writeHead(412, { 'content-type': 'application/json' }).end(JSON.stringify({ code: 1001, detail, extra }))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    using channel = createChannel({ address, tls: 'insecure', transport: 'http', component: 'test' })
    const call = createClient(Fleet, channel).activateNode({})
    if (sameWire) assert.equal((await call).nodeId, 0n)
    else await assert.rejects(call, /version 1\.36\.0 detected .* version 1\.41\.0/)
    assert.equal(seen.length, sameWire ? 2 : 1)
    assert.equal(seen[0]?.['flwr-component-name'], 'test')
    assert.deepEqual(
      Object.keys(seen[1] ?? {}).filter((name) => name.startsWith('flwr-')),
      [],
    )
    server.close()
  }
})

test('a kept connection that the server closed meanwhile costs no call', async () => {
  let connections = 0
  const server = createTcpServer((socket) => {
    connections += 1
    // The first request is answered; the second finds no server.
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\nContent-Length: 0\r\n\r\n')
      socket.once('data', () => socket.resetAndDestroy())
    })
    socket.on('error', () => {})
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  {
    using channel = createChannel({ address, tls: 'insecure', transport: 'http', component: 'test' })
    const fleet = createClient(Fleet, channel)
    for (let call = 0; call < 3; call++) assert.equal((await fleet.activateNode({})).nodeId, 0n)
  }
  server.close()
  assert.equal(connections, 3)
})

test('a call that crosses with the end of its connection is made again over another, but not for ever', async () => {
  let refuses = 1
  let connections = 0
  const server = createHttp2Server()
  server.on('session', () => {
    connections += 1
  })
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {})
    if (refuses > 0) {
      refuses -= 1
      stream.close(constants.NGHTTP2_REFUSED_STREAM)
      stream.session?.close()
      return
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(Buffer.alloc(5))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  await using stack = new AsyncDisposableStack()
  stack.defer(() => void server.close())
  const channel = stack.use(createChannel({ address, tls: 'insecure', transport: 'grpc', component: 'test' }))
  const { message } = await channel.call(Fleet.method.activateNode, {})
  assert.deepEqual([message.nodeId, connections], [0n, 2])
  refuses = 100
  await assert.rejects(channel.call(Fleet.method.activateNode, {}), { kind: 'untaken', retryable: true })
  assert.ok(refuses >= 97, `${100 - refuses} calls`)
})

test('a call whose headers are accepted only once is not sent again when a server dies while it holds the call', async () => {
  const seen: unknown[] = []
  const held = new Set<unknown>()
  await using server = createServer((request, response) => {
    seen.push(request.headers['x-call'])
    const isHeld = request.headers['x-call'] !== 'first' && !held.has(request.headers['x-call'])
    held.add(request.headers['x-call'])
    if (isHeld) request.socket.destroy()
    else response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  using channel = createChannel({
    ...{ address: `127.0.0.1:${port}`, tls: 'insecure', transport: 'http', component: 'test' },
  })
  const call = (name: string, isAcceptedOnce: boolean) =>
    channel.call(Control.method.listRuns, {}, { headers: { 'x-call': name }, isAcceptedOnce })
  await call('first', false)
  await assert.rejects(call('signed', true), { status: 'unavailable' })
  assert.deepEqual(seen, ['first', 'signed'])
  await call('first', false)
  await call('usual', false)
  assert.deepEqual(seen, ['first', 'signed', 'first', 'usual', 'usual'])
})
