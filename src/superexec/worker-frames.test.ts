import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { randomFrom } from '../../test/harness/random.ts'
import { readFrames, writeFrame } from './worker-frames.ts'

const limits = { partsMax: 4, bytesMax: 10_000 }

test('frames arrive as they were written, however the connection cuts them', async () => {
  const random = randomFrom(5)
  const sent = Array.from({ length: 50 }, (_, frame) =>
    Array.from({ length: random(5) }, () => Buffer.alloc(random(2000), frame)),
  )
  const [writer, collector] = duplexPair()
  const chunks: Buffer[] = []
  collector.on('data', (chunk: Buffer) => chunks.push(chunk))
  for (const parts of sent) writeFrame(writer, parts)
  writer.end()
  await new Promise((resolve) => collector.once('end', resolve))
  const bytes = Buffer.concat(chunks)

  const [source, reader] = duplexPair()
  const received: (Uint8Array[] | undefined)[] = []
  readFrames(reader, limits, (parts) => received.push(parts))
  for (let start = 0; start < bytes.length; ) {
    const end = start + 1 + random(3000)
    source.write(bytes.subarray(start, end))
    start = end
  }
  source.end()
  await new Promise((resolve) => reader.once('end', resolve))
  assert.deepEqual(
    received.map((parts) => parts?.map((part) => Buffer.from(part))),
    sent,
  )
})

test('a frame of too many parts or bytes is reported, and nothing is read after it', async () => {
  for (const parts of [Array(5).fill(Buffer.alloc(1)), [Buffer.alloc(10_000)]]) {
    const [source, reader] = duplexPair()
    const received: (Uint8Array[] | undefined)[] = []
    readFrames(reader, limits, (frame) => received.push(frame))
    source.on('error', () => {})
    writeFrame(source, parts)
    writeFrame(source, [Buffer.from('next')])
    await new Promise((resolve) => reader.once('close', resolve))
    assert.deepEqual(received, [undefined])
  }
})
