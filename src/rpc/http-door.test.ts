import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { DomainError } from '../base/errors.ts'
import type { IncomingCall } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import type { Method } from './dispatch.ts'
import { type Listener, startListener } from './listener.ts'

const base = { streams: false, async *stream() {} } as const
/** Refused by its head; by its head, a megabyte at most; and one that receives what it is sent. */
const methods: Method[] = [
  {
    ...{ ...base, path: '/test/Refused', route: 'test/refused' },
    unary: async () => {
      throw new DomainError('token-invalid')
    },
  },
  { ...{ ...base, path: '/test/Size', route: 'test/size' }, unary: sizeOf },
  { ...{ ...base, path: '/test/FleetSize', route: 'fleet/size' }, unary: sizeOf },
  {
    ...{ ...base, path: '/test/Busy', route: 'fleet/busy' },
    unary: async () => {
      throw new DomainError('too-many-calls', 'Later.', { retryAfterMs: 3000 })
    },
  },
]

async function sizeOf({ receive }: IncomingCall): Promise<Uint8Array[]> {
  return [Buffer.from(`${(await receive(1_000_000)).length} bytes`)]
}

async function setUp(bounds: Partial<ConnectionBounds> = {}) {
  const { log, lines } = recordingLogger()
  const listener: Listener = await startListener({
    ...{ name: 'test', address: '127.0.0.1:0', services: [], rawMethods: methods, log, bounds },
  })
  return { listener, lines, [Symbol.asyncDispose]: () => listener.close() }
}

const head = (path: string, headers: readonly string[], prefix = '/v1/test'): string =>
  [`POST ${prefix}/${path} HTTP/1.1`, 'host: x', 'content-type: application/protobuf', ...headers, '', ''].join('\r\n')

/** What a server says until it has said that, or closes. */
function said(socket: Socket, until: RegExp): Promise<string> {
  let text = ''
  socket.on('error', () => {})
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (until.test(text)) resolve(text)
    })
    socket.once('close', () => resolve(`${text}(closed)`))
  })
}

const dial = ({ listener }: { listener: Listener }): Socket => connect(listener.address.port, '127.0.0.1')

test('a call that is refused before its body was read keeps its connection, and the next call is served', async () => {
  await using door = await setUp()
  const socket = dial(door)
  socket.write(head('refused', ['content-length: 100000']))
  const both = said(socket, /100 bytes/)
  socket.write(Buffer.alloc(100_000))
  socket.write(head('size', ['content-length: 100']))
  socket.write(Buffer.alloc(100))
  assert.match(await both, /^HTTP\/1\.1 401 [\s\S]*Authentication failed\.[\s\S]*HTTP\/1\.1 200 [\s\S]*100 bytes$/)
  socket.destroy()
})

test("Fleet calls are served at the paths of Flower 1.29's REST transport too, and no others", async () => {
  await using door = await setUp()
  const answers = async (prefix: string): Promise<string> => {
    const socket = dial(door)
    socket.write(`${head('size', ['content-length: 5', 'connection: close'], prefix)}bytes`)
    return (await said(socket, /never/)).split(' ')[1] ?? ''
  }
  for (const prefix of ['/v1/fleet', '/api/v0/fleet', '//api/v0/fleet'])
    assert.equal(await answers(prefix), '200', prefix)
  for (const prefix of ['/api/v0/test', '/v0/fleet']) assert.equal(await answers(prefix), '404', prefix)
})

test('a call that may be made again is answered with the time, and over REST its connection breaks, for Flower tries again then', async () => {
  await using door = await setUp()
  const answerOf = (prefix: string): Promise<string> => {
    const socket = dial(door)
    socket.write(head('busy', ['content-length: 0', 'connection: close'], prefix))
    return said(socket, /never/)
  }
  assert.match(await answerOf('/v1/fleet'), /retry-after: 3\r\n/i)
  assert.equal(await answerOf('/api/v0/fleet'), '(closed)')
})

test('a client that goes on sending after a refusal loses its connection', async () => {
  await using door = await setUp({ discardedMsMax: 200 })
  const socket = dial(door)
  socket.write(head('refused', ['transfer-encoding: chunked']))
  assert.match(await said(socket, /never/), /^HTTP\/1\.1 401 [\s\S]*\(closed\)$/)
})

test('two hosts, or a request line of HTTP/0.9, are a bad request', async () => {
  await using door = await setUp()
  for (const request of [
    'GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n',
    'GET /health\r\n\r\n',
    head('size', ['host: y', 'content-length: 0']),
  ]) {
    const socket = dial(door)
    socket.write(request)
    assert.match(await said(socket, /never/), /^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*\(closed\)$/, request)
  }
})

test('a client that hangs up within a body is no error of ours', async () => {
  await using door = await setUp()
  for (const headers of [['content-length: 100000'], ['transfer-encoding: chunked']]) {
    const socket = dial(door)
    socket.on('error', () => {})
    socket.write(head('size', headers))
    socket.write('1\r\nx\r\n', () => socket.resetAndDestroy())
    await new Promise((resolve) => socket.once('close', resolve))
  }
  const socket = dial(door)
  socket.write(head('size', ['content-length: 0']))
  assert.match(await said(socket, /bytes/), / 200 /)
  socket.destroy()
  // What Node tells of the clients that are gone comes before this.
  while (door.listener.connections().length > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(door.lines, [])
})

test('a body without room is refused with a time to come again', async () => {
  await using door = await setUp({ bodiesBytesMax: 100_000, bodiesPerPeerBytesMax: 50_000, bodyRoomMs: 100 })
  const socket = dial(door)
  socket.write(head('size', ['content-length: 90000']))
  socket.write(Buffer.alloc(90_000))
  const answer = await said(socket, /detail/)
  assert.match(answer, /^HTTP\/1\.1 429 [\s\S]*retry-after: 5\r\n/i)
  assert.match(answer, /Requests of 127\.0\.0\.1 of more than 50000 bytes are being received: send fewer/)
  socket.destroy()
})

test('a body that takes longer than any may is ended, however steadily it comes', async () => {
  // One window, at whose end the whole time is over: none before it can be too slow on a busy machine.
  await using door = await setUp({ bodyWindowMs: 300, bodyMsMax: 300 })
  const socket = dial(door)
  socket.write(head('size', ['content-length: 900000']))
  const answer = said(socket, /never/)
  const timer = setInterval(() => socket.write(Buffer.alloc(35_000)), 50)
  try {
    assert.match(await answer, /^HTTP\/1\.1 504 [\s\S]*The body took more than 0\.3 s/)
  } finally {
    clearInterval(timer)
  }
})
