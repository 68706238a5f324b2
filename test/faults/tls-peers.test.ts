import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { test } from 'node:test'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { create, toBinary } from '@bufbuild/protobuf'
import { limits } from '../../src/base/limits.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { SendNodeHeartbeatRequestSchema } from '../../src/gen/flwr/proto/heartbeat_pb.ts'
import { RpcError } from '../../src/rpc/channel.ts'
import { openGrpcTransport } from '../../src/rpc/grpc-transport.ts'
import { startListener } from '../../src/rpc/listener.ts'
import type { Transport } from '../../src/rpc/transport.ts'
import { MutualTlsSuperlink, somePublicKey } from '../harness/mutual-tls.ts'
import { eventually } from '../harness/program.ts'
import { recordingLogger } from '../harness/recording-logger.ts'

/** What hostile, broken and misconfigured peers get from a listener, and what they can cost it. */

async function secure(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ rejectUnauthorized: false, ...options })
  await once(socket, 'secureConnect')
  socket.on('error', () => {})
  return socket
}

function grpcCall(transport: Transport, body: Uint8Array, path: string): Promise<unknown> {
  return transport.unary({
    ...{
      path,
      route: '',
      body: [body],
      headers: {},
      binaryHeaders: {},
      signal: undefined,
      timeoutMs: 5000,
      cut: undefined,
      isRepeatable: true,
      isAcceptedOnce: false,
    },
  })
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof RpcError, `refused with an RpcError, not ${String(error)}`)
  return error.refusalReason ?? `${error.status}: ${error.message}`
}

const heartbeat = '/flwr.proto.Fleet/SendNodeHeartbeat'

test('two connections from one port of a peer to two addresses of ours are two peers', async () => {
  await using deployment = await MutualTlsSuperlink.start(() => ['--fleet-api-address', '0.0.0.0:0'])
  const { port } = deployment.superlink.fleet.address
  const { issued } = await deployment.ca.issue('node-1')
  const pair = { cert: issued.certificatePem, key: issued.keyPem }
  const from = async (host: string, localPort: number | undefined, options: ConnectionOptions): Promise<TLSSocket> =>
    secure({
      ...{ host, port, ALPNProtocols: ['h2'], localAddress: '127.0.0.1', ...options },
      ...(localPort === undefined ? {} : { localPort }),
    })
  const good = await from('127.0.0.1', undefined, pair)
  const goodTransport = await openGrpcTransport(good, 'good')
  // 0 is no node: the response shows that the call got that far.
  assert.equal(await reasonOf(grpcCall(goodTransport, new Uint8Array(), heartbeat)), 'node-of-another-identity')

  const bad = await from('127.0.0.2', good.localPort, {})
  assert.equal(bad.localPort, good.localPort)
  const badTransport = await openGrpcTransport(bad, 'bad')
  assert.equal(await reasonOf(grpcCall(badTransport, new Uint8Array(), heartbeat)), 'no-certificate')
  assert.equal(await reasonOf(grpcCall(goodTransport, new Uint8Array(), heartbeat)), 'node-of-another-identity')

  // And the other way round: a peer that came first without a certificate gains nothing from one that comes later.
  const first = await from('127.0.0.2', undefined, {})
  const firstTransport = await openGrpcTransport(first, 'first')
  const second = await from('127.0.0.1', first.localPort, pair)
  const secondTransport = await openGrpcTransport(second, 'second')
  assert.equal(await reasonOf(grpcCall(secondTransport, new Uint8Array(), heartbeat)), 'node-of-another-identity')
  assert.equal(await reasonOf(grpcCall(firstTransport, new Uint8Array(), heartbeat)), 'no-certificate')
  for (const transport of [goodTransport, badTransport, firstTransport, secondTransport]) transport.close()
})

test('two SuperNodes behind one address and port, which reach two addresses of ours, are not taken for each other', async () => {
  await using deployment = await MutualTlsSuperlink.start(() => ['--fleet-api-address', '0.0.0.0:0'])
  const { port } = deployment.superlink.fleet.address
  const ids: bigint[] = []
  const transports: Transport[] = []
  let localPort: number | undefined
  for (const [index, host] of ['127.0.0.1', '127.0.0.2'].entries()) {
    const { issued } = await deployment.ca.issue(`node-${index}`)
    const joining = deployment.connect('fleet', issued)
    const joined = await joining.call(Fleet.method.activateNode, { publicKey: somePublicKey, heartbeatInterval: 30 })
    joining.close()
    ids.push(joined.message.nodeId)
    const socket: TLSSocket = await secure({
      ...{ host, port, localAddress: '127.0.0.1', ALPNProtocols: ['h2'] },
      ...{ cert: issued.certificatePem, key: issued.keyPem },
      ...(localPort === undefined ? {} : { localPort }),
    })
    localPort = socket.localPort
    transports.push(await openGrpcTransport(socket, host))
  }
  for (const [index, transport] of transports.entries()) {
    for (const [owner, nodeId] of ids.entries()) {
      const message = create(SendNodeHeartbeatRequestSchema, { node: { nodeId }, heartbeatInterval: 30 })
      const call = grpcCall(transport, toBinary(SendNodeHeartbeatRequestSchema, message), heartbeat)
      if (owner === index) await call
      else assert.equal(await reasonOf(call), 'node-of-another-identity', `${index} as ${owner}`)
    }
  }
  for (const transport of transports) transport.close()
})

test('a refused peer hears why whatever it calls and however much it sends, and none of it is taken in', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const { port } = deployment.superlink.fleet.address
  const large = new Uint8Array(20 * 1024 * 1024)
  for (const path of [heartbeat, '/flwr.proto.Fleet/PushObject', '/grpc.health.v1.Health/Check', '/no/such']) {
    const socket = await secure({ host: '127.0.0.1', port, ALPNProtocols: ['h2'] })
    const transport = await openGrpcTransport(socket, 'peer')
    assert.equal(await reasonOf(grpcCall(transport, large, path)), 'no-certificate', path)
    await eventually('the end of the connection', () => socket.destroyed)
    assert.ok(socket.bytesWritten < 256 * 1024, `${socket.bytesWritten} bytes were sent`)
    transport.close()
  }
  for (const path of ['/v1/fleet/push-object', '/', '/health']) {
    const socket = await secure({ host: '127.0.0.1', port, ALPNProtocols: ['http/1.1'] })
    let answer = ''
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString()
    })
    socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${large.length}\r\n\r\n`)
    socket.write(large)
    await eventually('the answer', () => answer.includes('}'))
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    assert.match(head, /^HTTP\/1\.1 401 Unauthorized\r\n/)
    assert.match(head, /\r\ntrellis-refusal-reason: no-certificate\r\n/)
    const json = JSON.parse(body)
    assert.deepEqual(Object.keys(json), ['code', 'detail'])
    assert.match(json.detail, /requires a client certificate and none was presented/)
    await eventually('the end of the connection', () => socket.destroyed)
  }
  await eventually('no connection', () => deployment.superlink.fleet.connections().length === 0)
})

test('a refused peer that asks nothing is gone after two seconds', async (t) => {
  await using deployment = await MutualTlsSuperlink.start()
  const { port } = deployment.superlink.fleet.address
  for (const protocol of ['h2', 'http/1.1']) {
    const socket = await secure({ host: '127.0.0.1', port, ALPNProtocols: [protocol] })
    socket.resume()
    const startedAt = performance.now()
    await once(socket, 'close')
    const passed = performance.now() - startedAt
    t.diagnostic(`closed after ${passed.toFixed(0)} ms`)
    assert.ok(passed > limits.refusedConnectionMs - 200, `${passed} ms`)
  }
})

test('connections that stay silent do not keep others out, and are closed after ten seconds', async () => {
  const { log, lines } = recordingLogger()
  await using deployment = await MutualTlsSuperlink.start(undefined, log)
  const { port } = deployment.superlink.fleet.address
  const { issued } = await deployment.ca.issue('node-1')
  const silent: Socket[] = []
  for (let count = 0; count < limits.connectionsUnjudgedMax; count++) {
    const socket = connectTcp(port, '127.0.0.1')
    socket.on('error', () => {}).resume()
    await once(socket, 'connect')
    silent.push(socket)
  }
  const { message } = await deployment
    .connect('fleet', issued)
    .call(Fleet.method.activateNode, { publicKey: somePublicKey, heartbeatInterval: 30 })
  assert.ok(message.nodeId > 0n)
  await eventually('a warning', () => lines.some((line) => /warn Fleet API: 64 connections are in their/.test(line)))
  await eventually(
    'the end of the silent',
    () => silent.every((socket) => socket.destroyed || socket.readableEnded),
    14_000,
  )
  for (const socket of silent) socket.destroy()
})

test('failed handshakes are told to the operator with what would help, once a minute for each cause and peer', async () => {
  const { log, lines } = recordingLogger()
  await using deployment = await MutualTlsSuperlink.start(undefined, log)
  const { port } = deployment.superlink.fleet.address
  const speak = async (bytes: string): Promise<void> => {
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(bytes))
    socket.on('error', () => {}).resume()
    await once(socket, 'close')
  }
  const warnings = (pattern: RegExp): number =>
    lines.filter((line) => line.startsWith('warn') && pattern.test(line)).length
  for (let count = 0; count < 3; count++) await speak('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await speak('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  await eventually(
    'the line',
    () => warnings(/Fleet API: A client without TLS .* give the client --root-certificates/) === 2,
  )
  const old = connectTls({
    host: '127.0.0.1',
    port,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  })
  await once(old, 'error')
  await eventually('the line', () => warnings(/it needs TLS 1\.2 or 1\.3/) === 1)
  const weak = connectTls({ host: '127.0.0.1', port, maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' })
  await once(weak, 'error')
  await eventually('the line', () => warnings(/no cipher suite in common .*authenticated encryption/) === 1)
  // A port scan is nothing to tell.
  const before = lines.length
  const scan = connectTcp(port, '127.0.0.1', () => scan.destroy())
  await once(scan, 'close')
  await speak('GET / HTTP/1.1\r\n\r\n')
  assert.equal(lines.length, before)
})

test('a client with TLS on a port without is told to the operator too', async () => {
  const { log, lines } = recordingLogger()
  await using listener = await startListener({ name: 'Fleet API', address: '127.0.0.1:0', services: [], log })
  for (let count = 0; count < 2; count++) {
    const socket = connectTls({ host: '127.0.0.1', port: listener.address.port })
    await once(socket, 'error')
  }
  assert.equal(lines.length, 1)
  assert.match(lines[0] as string, /^warn Fleet API: A client with TLS connected to this port, which serves without/)
})

test('an open connection cannot renegotiate its identity', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const { issued } = await deployment.ca.issue('node-1')
  const socket = await secure({
    ...{ host: '127.0.0.1', port: deployment.superlink.fleet.address.port, maxVersion: 'TLSv1.2' },
    ...{ ALPNProtocols: ['http/1.1'], cert: issued.certificatePem, key: issued.keyPem },
  })
  const error = await new Promise<Error | null>((resolve) => {
    socket.once('error', resolve)
    socket.once('close', () => resolve(new Error('closed')))
    socket.renegotiate({ rejectUnauthorized: false }, resolve)
  })
  assert.match(String(error), /no.renegotiation|closed|handshake/i)
  socket.destroy()
})
