import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { test } from 'node:test'
import { deflateSync, gzipSync } from 'node:zlib'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { DomainError } from '../base/errors.ts'
import type { IncomingCall } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import type { Method } from './dispatch.ts'
import { grpcMessage, timeoutMsOf } from './grpc-frames.ts'
import { type Listener, startListener } from './listener.ts'

const bytesMax = 1000

/** A listener with one method, and calls of it as bytes. */
async function setUp(unary: (incoming: IncomingCall) => Promise<Uint8Array>, bounds: Partial<ConnectionBounds> = {}) {
  const method: Method = {
    ...{ path: '/test/Call', route: 'test/call', streams: false },
    unary: async (incoming) => [await unary(incoming)],
    async *stream() {},
  }
  const { log, lines } = recordingLogger()
  const listener: Listener = await startListener({
    ...{ name: 'test', address: '127.0.0.1:0', services: [], rawMethods: [method], log, bounds },
  })
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${listener.address.port}`)
  session.on('error', () => {})
  const open = (headers: OutgoingHttpHeaders = {}): ClientHttp2Stream =>
    session.request({
      ...{ ':method': 'POST', ':path': '/test/Call', 'content-type': 'application/grpc', te: 'trailers' },
      ...headers,
    })
  const call = (body: Uint8Array, headers: OutgoingHttpHeaders = {}) => {
    const stream = open(headers)
    const ended = outcomeOf(stream)
    stream.end(body)
    return ended
  }
  return {
    ...{ listener, lines, session, open, call },
    async [Symbol.asyncDispose]() {
      session.destroy()
      await listener.close()
    },
  }
}

interface Outcome {
  status: string
  message: string
  headers: Record<string, unknown>
  body: Buffer
}

function outcomeOf(stream: ClientHttp2Stream): Promise<Outcome> {
  const outcome: Outcome = { status: 'none', message: '', headers: {}, body: Buffer.alloc(0) }
  const look = (headers: Record<string, unknown>): void => {
    Object.assign(outcome.headers, headers)
    if (headers['grpc-status'] !== undefined) outcome.status = String(headers['grpc-status'])
    if (headers['grpc-message'] !== undefined) outcome.message = decodeURIComponent(String(headers['grpc-message']))
  }
  stream
    .on('response', look)
    .on('trailers', look)
    .on('error', () => {})
  stream.on('data', (chunk: Buffer) => {
    outcome.body = Buffer.concat([outcome.body, chunk])
  })
  return new Promise((resolve) => stream.once('close', () => resolve(outcome)))
}

function message(content: Uint8Array, compressed = false): Buffer {
  const prefix = Buffer.alloc(5)
  prefix[0] = compressed ? 1 : 0
  prefix.writeUInt32BE(content.length, 1)
  return Buffer.concat([prefix, content])
}

const echo = ({ receive }: IncomingCall): Promise<Uint8Array> => receive(bytesMax)

test('a message comes in one piece or byte by byte, plain or compressed, and the response goes back', async () => {
  await using door = await setUp(echo)
  const text = Buffer.from('a message')
  assert.deepEqual((await door.call(message(text))).body, message(text))
  for (const [encoding, compress] of [
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const) {
    const { status, body } = await door.call(message(compress(text), true), { 'grpc-encoding': encoding })
    assert.deepEqual([status, body], ['0', message(text)], encoding)
  }
  const stream = door.open()
  const ended = outcomeOf(stream)
  for (const byte of message(text)) stream.write(Uint8Array.of(byte))
  stream.end()
  assert.deepEqual((await ended).body, message(text))
})

test('what is no gRPC message is refused with a status, and the connection goes on', async () => {
  await using door = await setUp(echo)
  const bomb = gzipSync(Buffer.alloc(1_000_000))
  for (const [what, body, headers, status, sentence] of [
    ['too large', message(Buffer.alloc(bytesMax + 1)), {}, '8', /larger than 1000 bytes/],
    ['too large once it is decompressed', message(bomb, true), { 'grpc-encoding': 'gzip' }, '8', /larger than 1000/],
    ['not what it says', message(Buffer.from('x'), true), { 'grpc-encoding': 'gzip' }, '3', /not gzip/],
    ['compressed in secret', message(Buffer.from('x'), true), {}, '3', /without its encoding/],
    [
      'compressed by something else',
      message(Buffer.from('x')),
      { 'grpc-encoding': 'br' },
      '12',
      /Unknown grpc-encoding/,
    ],
    ['cut short', Buffer.from([0, 0, 0, 0, 9, 1]), {}, '3', /ended before its message was complete/],
    ['nothing', Buffer.alloc(0), {}, '3', /ended before its message was complete/],
    [
      'two messages',
      Buffer.concat([message(Buffer.from('x')), message(Buffer.from('y'))]),
      {},
      '3',
      /Too many messages/,
    ],
    [
      'another method',
      message(Buffer.from('x')),
      { ':path': '/test/Other' },
      '12',
      /does not implement the method \/test\/Other/,
    ],
    [
      'a deadline that makes no sense',
      message(Buffer.from('x')),
      { 'grpc-timeout': 'soon' },
      '3',
      /Invalid grpc-timeout/,
    ],
  ] as const) {
    const outcome = await door.call(body, headers)
    assert.equal(outcome.status, status, what)
    assert.match(outcome.message, sentence, what)
  }
  assert.equal((await door.call(message(Buffer.from('x')), { 'content-type': 'text/plain' })).headers[':status'], 415)
  assert.equal((await door.call(message(Buffer.from('x')))).status, '0')
})

test('responses carry no date, which each connection would remember', async () => {
  await using door = await setUp(async ({ head }) => {
    if (head.header('x-name').length > 0) throw new DomainError('token-invalid')
    return new Uint8Array()
  })
  const taken = await door.call(message(Buffer.from('x')))
  assert.equal(taken.headers.date, undefined)
  const refused = await door.call(message(Buffer.from('x')), { 'x-name': 'refused' })
  assert.equal(refused.headers.date, undefined)
})

test('a call that is refused by its head ends before its body is sent', async () => {
  await using door = await setUp(async () => {
    throw new DomainError('token-invalid')
  })
  const stream = door.open()
  const ended = outcomeOf(stream)
  stream.write(message(Buffer.alloc(900)).subarray(0, 100))
  assert.equal((await ended).status, '16')
  assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR)
})

test('a handler hears that its caller hung up or that its deadline has passed', async () => {
  const heard: string[] = []
  await using door = await setUp(async ({ head }) => {
    const [name = ''] = head.header('x-name')
    heard.push(`${name} begins`)
    await once(head.signal, 'abort')
    heard.push(`${name} ends`)
    return new Uint8Array()
  })
  const timed = await door.call(message(Buffer.from('x')), { 'grpc-timeout': '50m', 'x-name': 'timed' })
  assert.equal(timed.status, '4')
  const stream = door.open({ 'x-name': 'cancelled' })
  const ended = outcomeOf(stream)
  stream.write(message(Buffer.from('x')))
  while (!heard.includes('cancelled begins')) await new Promise((resolve) => setImmediate(resolve))
  stream.close(constants.NGHTTP2_CANCEL)
  await ended
  while (!heard.includes('cancelled ends')) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(heard, ['timed begins', 'timed ends', 'cancelled begins', 'cancelled ends'])
})

test('a caller that hangs up within its message is no error of ours', async () => {
  const seen = Promise.withResolvers<void>()
  await using door = await setUp(async ({ receive }) => {
    try {
      return await receive(bytesMax)
    } finally {
      seen.resolve()
    }
  })
  const stream = door.open()
  stream.on('error', () => {})
  stream.write(message(Buffer.alloc(900)).subarray(0, 100))
  await new Promise((resolve) => setImmediate(resolve))
  stream.close(constants.NGHTTP2_CANCEL)
  await seen.promise
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    door.lines.filter((line) => /error|warn/i.test(JSON.stringify(line).slice(0, 40))),
    [],
  )
})

test('a body that waits for room leaves the calls beside it alone, and is refused in the end', async () => {
  await using door = await setUp(({ receive }) => receive(1_000_000), {
    ...{ bodiesBytesMax: 400_000, bodiesPerPeerBytesMax: 100_000, bodyRoomMs: 300 },
  })
  const held = door.open()
  const heldEnds = outcomeOf(held)
  held.write(message(Buffer.alloc(90_000)).subarray(0, 80_000))
  const second = door.open()
  const secondEnds = outcomeOf(second)
  second.write(message(Buffer.alloc(50_000)).subarray(0, 40_000))
  assert.equal((await door.call(message(Buffer.from('small')))).status, '0')
  const refused = await Promise.race([heldEnds, secondEnds])
  assert.equal(refused.status, '8')
  assert.match(refused.message, /Requests of 127\.0\.0\.1 of more than 100000 bytes are being received/)
  assert.equal(refused.headers['grpc-retry-pushback-ms'], '5000')
})

test('statuses are printable whatever they say, and deadlines are read in every unit', () => {
  assert.equal(grpcMessage('100 % Grün\n😀'), '100 %25 Gr%C3%BCn%0A%F0%9F%98%80')
  assert.equal(grpcMessage('\ud800'), '%EF%BF%BD')
  assert.ok(grpcMessage('中'.repeat(10_000)).length < 8000)
  const read = ['1H', '2M', '3S', '4m', '5000u', '6000000n'].map(timeoutMsOf)
  assert.deepEqual(read, [3_600_000, 120_000, 3000, 4, 5, 6])
  assert.ok(['', '5', 'm', '-1S', '123456789S', '1s'].every((text) => Number.isNaN(timeoutMsOf(text))))
  assert.equal(timeoutMsOf(undefined), undefined)
})
