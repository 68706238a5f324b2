import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { mock, test } from 'node:test'
import { limits } from '../base/limits.ts'
import type { Connection } from './call.ts'
import { endWithParts, type Reader, writeParts } from './write-parts.ts'

const pace = { responseWindowMs: 1000, responseMsMax: 5000 }
const piece = 256 * 1024

/** A peer that takes a piece when the test says so. */
function setUp() {
  let take: (() => void) | undefined
  const stream = new Writable({
    highWaterMark: 1,
    write: (_chunk, _encoding, done) => {
      take = done
    },
  })
  const connection = { bytesSent: 0, isClosed: false, close: () => void Object.assign(connection, { isClosed: true }) }
  const sentences: string[] = []
  const reader: Reader = {
    connection: connection as unknown as Connection,
    pace,
    onTooSlow: (sentence) => sentences.push(sentence),
  }
  return { stream, connection, reader, sentences, take: () => take?.() }
}

/** Lets the writer go on, whose timers are those of the test. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function fakeIntervals(): Disposable {
  mock.timers.enable({ apis: ['setInterval'] })
  return { [Symbol.dispose]: () => mock.timers.reset() }
}

test('parts go out in pieces, as fast as the peer takes them', async () => {
  const { stream, reader, take } = setUp()
  let isDone = false
  const done = writeParts(stream, [Buffer.alloc(2 * piece), Buffer.alloc(10)], reader).then(() => {
    isDone = true
  })
  for (const length of [piece, piece, 10]) {
    await settle()
    assert.deepEqual([stream.writableLength, isDone], [length, false])
    take()
  }
  await done
})

test('a connection stays open while enough goes out over it, and is closed when too little does', async () => {
  using _timers = fakeIntervals()

  const { stream, reader, connection, sentences, take } = setUp()
  const { written } = await endWithParts(stream, [Buffer.alloc(10)], reader)
  for (let window = 0; window < 4; window++) {
    connection.bytesSent += limits.responseBytesPerWindowMin
    mock.timers.tick(pace.responseWindowMs)
    assert.ok(!connection.isClosed)
  }
  connection.bytesSent += limits.responseBytesPerWindowMin - 1
  mock.timers.tick(pace.responseWindowMs)
  assert.ok(connection.isClosed)
  assert.deepEqual(sentences, [`less than ${limits.responseBytesPerWindowMin} bytes in 1 s`])
  take()
  await written
})

test('a peer that reads other responses only loses its connection in the end', async () => {
  using _timers = fakeIntervals()

  const { stream, reader, connection, sentences } = setUp()
  void writeParts(stream, [Buffer.alloc(10)], reader)
  for (let window = 0; window < 5; window++) {
    connection.bytesSent += piece
    assert.ok(!connection.isClosed)
    mock.timers.tick(pace.responseWindowMs)
  }
  assert.ok(connection.isClosed)
  assert.deepEqual(sentences, ['not within 5 s'])
  stream.destroy()
})
