import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { readJsonLines } from './json-lines.ts'

function setUp(lineBytesMax = 20) {
  const stream = new PassThrough()
  const read: unknown[] = []
  readJsonLines(stream, {
    lineBytesMax: () => lineBytesMax,
    onValue: (value) => read.push(value),
    onNonsense: () => read.push('nonsense'),
  })
  return { stream, read, write: (...chunks: string[]) => chunks.forEach((chunk) => void stream.write(chunk)) }
}

test('lines arrive whole, however they were cut, and several at once', () => {
  const { read, write } = setUp()
  write('{"a"', ':1}', '\n[2]\n"th', 'ree"\nnull\n')
  assert.deepEqual(read, [{ a: 1 }, [2], 'three', null])
})

test('what is no JSON, and what is too long, is skipped, and the next line is read', () => {
  const { read, write } = setUp(20)
  write('not json\n', '\n', `"${'x'.repeat(18)}"\n`, `"${'x'.repeat(19)}"\n`, '"after"\n')
  assert.deepEqual(read, ['nonsense', 'nonsense', 'x'.repeat(18), 'nonsense', 'after'])
})

test('a line without an end costs no more memory than one line', () => {
  const { read, stream, write } = setUp(1000)
  const chunk = Buffer.alloc(1024 * 1024, 'x')
  const before = process.memoryUsage().arrayBuffers
  for (let index = 0; index < 200; index++) stream.write(Buffer.from(chunk))
  assert.ok(process.memoryUsage().arrayBuffers - before < 250 * 1024 * 1024)
  write('\n"after"\n')
  assert.deepEqual(read, ['nonsense', 'after'])
})

test('an error of the stream is no exception', () => {
  const { stream, read } = setUp()
  stream.destroy(new Error('ECONNRESET'))
  assert.deepEqual(read, [])
})
