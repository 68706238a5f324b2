import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { LiveLines } from './live-lines.ts'

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

/** Returns the rows that a terminal shows after all of this; those that are empty at the end left out. */
function screen(written: readonly string[]): string[] {
  const rows = ['']
  let row = 0
  let column = 0
  for (const [part] of written.join('').matchAll(/\p{Cc}\[\d*[A-Za-z]|./gsu)) {
    if (part === '\r') column = 0
    else if (part === '\n') {
      row += 1
      column = 0
    } else if (part.endsWith('A') && part.length > 1) row -= Number(part.slice(2, -1) || 1)
    else if (part === '\x1b[K') rows[row] = [...(rows[row] ?? '')].slice(0, column).join('')
    else if (part === '\x1b[J') rows.splice(row, rows.length, [...(rows[row] ?? '')].slice(0, column).join(''))
    else if (!part.startsWith('\x1b')) {
      const cells = [...(rows[row] ?? '')]
      cells[column++] = part
      rows[row] = cells.join('')
    }
  }
  while (rows.at(-1) === '') rows.pop()
  return rows
}

test('lines are redrawn in place ten times a second at most, and are gone at the end', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(true)
  let count = 0
  const line = new LiveLines(
    stream,
    () => {
      count += 1
      return [`state ${count}`, ...Array.from({ length: count % 3 }, (_, index) => `more ${index}`)]
    },
    'xterm',
  )
  for (let i = 0; i < 100; i++) line.write('')
  assert.deepEqual(written, [])
  t.mock.timers.tick(1000)
  assert.equal(written.length, 10)
  assert.match(screen(written).join('|'), /^\S state 10\| {2}more 0$/)
  line[Symbol.dispose]()
  assert.deepEqual(screen(written), [])
  t.mock.timers.tick(1000)
  assert.deepEqual(screen(written), [])
})

test('output goes above the lines, and half a line of output is not broken', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(true)
  using line = new LiveLines(stream, () => ['state', 'more'], 'xterm')
  t.mock.timers.tick(100)
  line.write('INFO one\nhalf')
  assert.deepEqual(screen(written), ['INFO one', 'half'])
  t.mock.timers.tick(500)
  assert.deepEqual(screen(written), ['INFO one', 'half'])
  line.write(' and half\n')
  t.mock.timers.tick(100)
  assert.match(screen(written).join('|'), /^INFO one\|half and half\|\S state\| {2}more$/)
})

test('lines that are wider or higher than the terminal are cut, so that they can be cleared', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(true, 10)
  using _line = new LiveLines(
    Object.assign(stream, { rows: 3 }),
    () => Array(9).fill('a long state of things'),
    'xterm',
  )
  t.mock.timers.tick(100)
  assert.deepEqual(
    screen(written).map((row) => [...row].length),
    [9, 9],
  )
})

test('what is not a terminal gets the output as it is and nothing else', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { stream, written } = fakeStream(false)
  const line = new LiveLines(stream, () => ['state'], 'xterm')
  line.write('one\n')
  t.mock.timers.tick(1000)
  line.write('two')
  line[Symbol.dispose]()
  assert.equal(line.isLive, false)
  assert.deepEqual(written, ['one\n', 'two', '\n'])
  using dumb = new LiveLines(fakeStream(true).stream, () => ['state'], 'dumb')
  assert.equal(dumb.isLive, false)
})
