import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { LiveLine } from './live-line.ts'

/** Stands in for a terminal, or for a file. */
function fakeStream(isTTY: boolean, columns = 40): { stream: NodeJS.WriteStream; written: string[] } {
  const written: string[] = []
  const stream = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      written.push(text)
      done()
    },
  })
  return { written, stream: Object.assign(stream, { isTTY, columns }) as unknown as NodeJS.WriteStream }
}

/** What a terminal shows in its last line after all of this. */
function lastLine(written: readonly string[]): string {
  let line = ''
  for (const text of written.join('').split(/(?<=\n)/)) {
    line = stripVTControlCharacters(text.split('\r').at(-1) ?? '')
    if (line.endsWith('\n')) line = ''
  }
  return line
}

test('the line is redrawn in place ten times a second at most, and is gone at the end', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(true)
  let count = 0
  const line = new LiveLine(
    stream,
    () => {
      count += 1
      return `state ${count}`
    },
    'xterm',
  )
  for (let i = 0; i < 100; i++) line.write('')
  assert.deepEqual(written, [])
  t.mock.timers.tick(1000)
  assert.equal(written.length, 10)
  assert.match(lastLine(written), /^\S state 10$/)
  line[Symbol.dispose]()
  assert.equal(lastLine(written), '')
  t.mock.timers.tick(1000)
  assert.equal(lastLine(written), '')
})

test('output goes above the line, and half a line of output is not broken', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(true)
  using line = new LiveLine(stream, () => 'state', 'xterm')
  t.mock.timers.tick(100)
  line.write('INFO one\nhalf')
  assert.equal(lastLine(written), 'half')
  t.mock.timers.tick(500)
  assert.equal(lastLine(written), 'half')
  line.write(' and half\n')
  t.mock.timers.tick(100)
  assert.match(lastLine(written), /state$/)
  assert.match(written.join(''), /INFO one\nhalf and half\n/)
})

test('a line that is wider than the terminal is cut, so that it can be cleared', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(true, 10)
  using _line = new LiveLine(stream, () => 'a long state of things', 'xterm')
  t.mock.timers.tick(100)
  assert.equal([...lastLine(written)].length, 9)
})

test('what is not a terminal gets the output as it is and nothing else', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(false)
  const line = new LiveLine(stream, () => 'state', 'xterm')
  line.write('one\n')
  t.mock.timers.tick(1000)
  line.write('two')
  line[Symbol.dispose]()
  assert.equal(line.isLive, false)
  assert.deepEqual(written, ['one\n', 'two', '\n'])
  using dumb = new LiveLine(fakeStream(true).stream, () => 'state', 'dumb')
  assert.equal(dumb.isLive, false)
})
