import assert from 'node:assert/strict'
import { test } from 'node:test'
import { escapeCharacter, hostileTexts } from '../../test/harness/hostile-values.ts'
import { randomFrom } from '../../test/harness/random.ts'
import { oneLine, printable, printableJson, printableLines, shortened } from './printable.ts'

test('unprintable characters become escapes, and printable text of any script stays', () => {
  assert.equal(
    printable('a\n\r\t\u0000\u001b[31m\u0085\u202e\u2028\ud800'),
    'a\\n\\r\\t\\u0000\\u001b[31m\\u0085\\u202e\\u2028\\ud800',
  )
  const text = 'Universitätsklinik 東京 – مستشفى "x" 👍 a b'
  assert.deepEqual([printable(text), oneLine(text), printableLines(text, { colors: false })], [text, text, text])
})

test('one line loses colours, control characters and line ends', () => {
  assert.equal(oneLine('\x1b[31mred\x1b[0m\r\n\tand\u0000more\u2028still\u200b'), 'red and more still\\u200b')
})

test('the log of an app keeps its lines, whatever ends them', () => {
  assert.equal(printableLines('a\r\nb\rc\n\n  d\te', { colors: false }), 'a\nb\nc\n\n  d    e')
})

test('colours stay where they are wanted and end with their line; other sequences go', () => {
  const log = '\x1b[92mINFO\x1b[0m: \x1b[1;38:5:9mred\nplain \x1b[2J\x1b[5;5Hx\x1b]0;title\x07y\x1b]8;;u\x1b\\z\x9b1mC'
  assert.equal(printableLines(log, { colors: true }), '\x1b[92mINFO\x1b[0m: \x1b[1;38:5:9mred\x1b[0m\nplain xyzC')
  assert.equal(printableLines(log, { colors: false }), 'INFO: red\nplain xyzC')
  assert.equal(printableLines('\x1b]0;not closed\nnext', { colors: true }), '\nnext')
})

test('a line of JSON stays the same document', () => {
  for (const text of hostileTexts) {
    const line = printableJson(JSON.stringify({ text }))
    assert.equal(JSON.parse(line).text, text)
    assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
  }
})

const anyColor = new RegExp(`${escapeCharacter}\\[[0-9;:]*m`, 'g')

test('no text of pieces that steer terminals comes through', () => {
  const pieces = [
    ...hostileTexts,
    '\x1b',
    '\x1b[',
    '[',
    ']0;',
    '\x07',
    '\x1b\\',
    '\x9b',
    'm',
    '31',
    ';',
    '\x1bP',
    '\u202e',
    'x',
    ' ',
    '\n',
  ]
  const below = randomFrom(11)
  for (let run = 0; run < 5000; run++) {
    const text = Array.from({ length: 1 + below(12) }, () => pieces[below(pieces.length)]).join('')
    const where = JSON.stringify(text)
    assert.doesNotMatch(printable(text), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, where)
    assert.doesNotMatch(oneLine(text), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, where)
    assert.doesNotMatch(printableLines(text, { colors: false }), /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, where)
    const colored = printableLines(text, { colors: true })
    assert.doesNotMatch(colored.replace(anyColor, ''), /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, where)
  }
})

test('long text is shortened to a length', () => {
  assert.equal(shortened('abcdef', 6), 'abcdef')
  assert.equal(shortened('abcdefg', 6), 'abcde…')
})
