import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom } from '../../test/harness/random.ts'
import { ArrivingBytes } from './arriving-bytes.ts'

test('chunks of any size become what was sent', () => {
  const pick = randomFrom(3)
  for (let round = 0; round < 50; round++) {
    const sent = Buffer.from(Array.from({ length: pick(5000) }, () => pick(256)))
    const arriving = new ArrivingBytes(round % 2 === 0 ? sent.length : 1_000_000)
    for (let at = 0; at < sent.length; ) {
      const end = at + 1 + pick(1000)
      arriving.add(sent.subarray(at, end))
      at = end
    }
    assert.equal(arriving.length, sent.length)
    assert.deepEqual(arriving.bytes(), sent)
  }
})

test('a body of one chunk is not copied, and an announced length takes no memory', () => {
  const chunk = Buffer.from('whole')
  const arriving = new ArrivingBytes(64 * 1024 * 1024)
  arriving.add(chunk)
  assert.equal(arriving.bytes(), chunk)
  arriving.add(Buffer.from('!'))
  assert.equal(arriving.bytes().toString(), 'whole!')
  assert.ok(arriving.bytes().buffer.byteLength <= 1024 * 1024)
})

test('bytes are judged after 64 KiB, from then on whenever there are four times as many, and never when all are here', () => {
  const chunk = Buffer.alloc(16 * 1024)
  const judged: number[] = []
  const arriving = new ArrivingBytes(0)
  arriving.announce(64 * chunk.length, (bytes, length) => {
    assert.equal(length, 64 * chunk.length)
    judged.push(bytes.length / 1024)
  })
  for (let count = 0; count < 64; count++) arriving.add(chunk)
  assert.deepEqual(judged, [64, 256])
})
