import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { eventually } from '../../test/harness/program.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { limits } from '../base/limits.ts'
import type { PeerIdentity } from '../identity/caller.ts'
import { BodyBudget } from './body-budget.ts'
import { type ConnectionBounds, usualBounds } from './connection-bounds.ts'
import type { Method } from './dispatch.ts'
import { startListener } from './listener.ts'

const MiB = 1024 * 1024
/** Of responses over HTTP/1.1: more than the buffers of the system take of a connection. HTTP/2 has a window. */
const largeBytes = 16 * MiB

const revoked: PeerIdentity = {
  ...{ kind: 'refused', reason: 'revoked-by-crl', sentence: 'Revoked.' },
  ...{ identity: '', organization: '', serial: '', fingerprint: '' },
}

/** Two methods with large responses: one makes room before it builds its response, one does not. */
async function setUp(bounds: Partial<ConnectionBounds> = {}, bytes = MiB) {
  const share = 8 * bytes
  const all = { ...usualBounds, bodiesBytesMax: 4 * share, bodiesPerPeerBytesMax: share, ...bounds }
  const budget = new BodyBudget(all)
  const built = { pull: 0, list: 0 }
  const followed = { ended: 0 }
  const response = Buffer.alloc(bytes)
  const pull: Method = {
    ...{ path: '/test/Pull', route: 'test/pull', streams: false },
    async unary({ head }) {
      await head.makeRoom(bytes)
      built.pull += 1
      return [response]
    },
    async *stream() {},
  }
  const list: Method = {
    ...{ path: '/test/List', route: 'test/list', streams: false },
    async unary() {
      built.list += 1
      return [response]
    },
    async *stream() {},
  }
  const follow: Method = {
    ...{ path: '/test/Follow', route: 'test/follow', streams: true },
    unary: async () => [],
    async *stream({ receive }) {
      try {
        await receive(100)
        for (let count = 0; count < 3; count++) yield [response]
      } finally {
        followed.ended += 1
      }
    },
  }
  const { log, lines } = recordingLogger()
  let isRevoked = false
  const judge = (): PeerIdentity => (isRevoked ? revoked : { kind: 'anonymous' })
  const listener = await startListener({
    ...{ name: 'test', address: '127.0.0.1:0', services: [], rawMethods: [pull, list, follow], log },
    ...{ bodyBudget: budget, bounds: all, judge },
  })
  const stack = new AsyncDisposableStack()
  stack.use(listener)
  return {
    ...{ listener, budget, built, followed, bytes, share, lines, stack },
    /** Cuts off every connection. */
    revoke() {
      isRevoked = true
      return listener.judgeAgain()
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

type World = Awaited<ReturnType<typeof setUp>>

/** Peers without a certificate are told apart by their address. */
function dial({ listener, stack }: World, localAddress: string): Socket {
  const socket = connect({ host: '127.0.0.1', port: listener.address.port, localAddress })
  socket.on('error', () => {})
  stack.defer(() => void socket.destroy())
  return socket
}

function openHttp2(world: World, localAddress: string): ClientHttp2Session {
  const session = connectHttp2('http://test', { createConnection: () => dial(world, localAddress) })
  session.on('error', () => {})
  world.stack.defer(() => session.destroy())
  return session
}

function call(session: ClientHttp2Session, name: string) {
  const stream = session.request({
    ...{ ':method': 'POST', ':path': `/test/${name}`, te: 'trailers' },
    'content-type': 'application/grpc',
  })
  stream.on('error', () => {})
  stream.end(Buffer.alloc(5))
  return stream
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<number> {
  let length = 0
  for await (const chunk of stream) length += chunk.length
  return length
}

const request = (name: string): string =>
  `POST /v1/test/${name} HTTP/1.1\r\nhost: x\r\ncontent-type: application/protobuf\r\ncontent-length: 0\r\n\r\n`

function pullOverHttp(world: World, address: string, name: string): Socket {
  const socket = dial(world, address)
  socket.pause()
  socket.write(request(name))
  return socket
}

/** Begins a stream that is not read, and returns its connection. */
function follow(world: World, door: 'gRPC' | 'HTTP'): { destroy(): void } {
  if (door === 'HTTP') return pullOverHttp(world, '127.0.0.2', 'follow')
  const session = openHttp2(world, '127.0.0.2')
  call(session, 'Follow')
  return session
}

for (const door of ['gRPC', 'HTTP'] as const) {
  test(`a peer that never reads gets no more responses than its share, and others are served (${door})`, async () => {
    await using world = await setUp({}, door === 'gRPC' ? MiB : largeBytes)
    const { budget, built, bytes, share } = world
    if (door === 'gRPC') {
      const greedy = openHttp2(world, '127.0.0.2')
      for (let count = 0; count < limits.streamsPerConnectionMax; count++) call(greedy, 'Pull')
    } else for (let count = 0; count < 100; count++) pullOverHttp(world, '127.0.0.2', 'pull')
    await eventually('the share was built', () => built.pull === share / bytes)
    assert.equal(budget.responses.bytesTaken, share)
    const other = openHttp2(world, '127.0.0.3')
    for (let count = 0; count < 3; count++) assert.equal(await readAll(call(other, 'Pull')), bytes + 5)
    assert.equal(built.pull, share / bytes + 3)
    assert.equal(budget.responses.bytesTaken, share)
  })
}

test('responses that are built without room wait up to the share of their peer; more are refused with the reason', async () => {
  await using world = await setUp()
  const { budget, bytes, share } = world
  const greedy = openHttp2(world, '127.0.0.2')
  const streams = Array.from({ length: 20 }, () => call(greedy, 'List'))
  const refused = streams.slice((2 * share) / bytes)
  const heads = await Promise.all(refused.map(async (stream) => (await once(stream, 'response'))[0]))
  for (const head of heads) {
    assert.equal(head['grpc-status'], '14')
    assert.match(
      decodeURIComponent(head['grpc-message']),
      /^Responses to 127\.0\.0\.2 of 8388608 bytes wait to be read/,
    )
    assert.ok(Number(head['trellis-retry-after-ms']) > 0)
  }
  assert.equal(budget.responses.bytesTaken, share)
  // Once they are read, those that wait are sent too.
  assert.deepEqual(new Set(await Promise.all(streams.slice(0, (2 * share) / bytes).map(readAll))), new Set([bytes + 5]))
  await eventually('all room was free', () => budget.responses.bytesTaken === 0)
})

test('a connection whose peer does not read is closed after a while, and what it held is free', async () => {
  await using world = await setUp({ responseWindowMs: 200 }, largeBytes)
  const { budget, lines } = world
  const greedy = openHttp2(world, '127.0.0.2')
  for (let count = 0; count < 20; count++) call(greedy, 'Pull')
  const slow = pullOverHttp(world, '127.0.0.3', 'pull')
  const follower = pullOverHttp(world, '127.0.0.4', 'follow')
  await Promise.all([once(greedy, 'close'), ...[slow, follower].map((socket) => closed(socket))])
  await eventually('all room was free', () => budget.responses.bytesTaken === 0)
  assert.match(JSON.stringify(lines), /Closed a connection whose peer does not read/)
})

/** A socket that is not read does not notice its end: it is asked now and then. */
function closed(socket: Socket): Promise<boolean> {
  return eventually('the connection was closed', () => {
    socket.write('x')
    return socket.destroyed
  })
}

test('a call that its caller takes back while it waits for room leaves nothing behind', async () => {
  await using world = await setUp()
  const { budget, built, bytes, share } = world
  const greedy = openHttp2(world, '127.0.0.2')
  const streams = Array.from({ length: 12 }, () => call(greedy, 'Pull'))
  await eventually('the share was built', () => built.pull === share / bytes)
  for (const stream of streams.slice(share / bytes)) stream.close(constants.NGHTTP2_CANCEL)
  await Promise.all(streams.slice(0, share / bytes).map(readAll))
  await eventually('all room was free', () => budget.responses.bytesTaken === 0)
  assert.equal(built.pull, share / bytes)
})

for (const door of ['gRPC', 'HTTP'] as const) {
  test(`a stream that is cut off while its peer does not read ends, and gives its room back once (${door})`, async () => {
    await using world = await setUp({}, door === 'gRPC' ? MiB : largeBytes)
    const { budget, bytes, followed } = world
    const greedy = follow(world, door)
    await eventually('a response was built', () => budget.responses.bytesTaken === bytes)
    assert.equal((await world.revoke()).length, 1)
    greedy.destroy()
    await eventually('the stream ended', () => followed.ended === 1)
    assert.equal(budget.responses.bytesTaken, 0)
  })

  test(`a stream that finds no room for its response ends (${door})`, async () => {
    await using world = await setUp({ responseRoomMs: 50 })
    const { budget, followed, share } = world
    const others = budget.responses.open('127.0.0.2')
    assert.equal(others.take(share), undefined)
    follow(world, door)
    await eventually('the stream ended', () => followed.ended === 1)
    assert.equal(budget.responses.bytesTaken, share)
  })
}
