import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OutputLines } from './output-lines.ts'

function split(chunks: readonly (string | Buffer)[], lineBytesMax = 100): string[] {
  const lines: string[] = []
  const output = new OutputLines(lineBytesMax, (line) => lines.push(line))
  for (const chunk of chunks) output.take(Buffer.from(chunk))
  output.end()
  return lines
}

test('lines end at line feeds and carriage returns, wherever the chunks end, and empty lines are left out', () => {
  const text = 'one\r\ntwo\n\n 10 %\r 20 %\r\nthree ü'
  const expected = ['one', 'two', ' 10 %', ' 20 %', 'three ü']
  assert.deepEqual(split([text]), expected)
  assert.deepEqual(split([...Buffer.from(text)].map((byte) => Buffer.of(byte))), expected)
  assert.deepEqual(split([]), [])
})

test('the rest of a line that is too long is skipped, and the next line is whole', () => {
  assert.deepEqual(split(['x'.repeat(7), 'x'.repeat(1000), 'y\nnext\n', '12345678\n'], 8), [
    `${'x'.repeat(8)}…`,
    'next',
    '12345678',
  ])
})
