import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { UsageError } from './errors.ts'
import { createLogger } from './log.ts'
import { LogFile } from './log-file.ts'
import { logArguments, logRows, readLogSettings, rotationRows } from './log-options.ts'
import { parseOptions } from './options.ts'

const hourMs = 3_600_000
const noReport = (sentence: string): never => assert.fail(sentence)

test('a log file is rotated before it grows too large, and the oldest one is deleted', () => {
  using directory = temporaryDirectory()
  const path = directory.file('a.log')
  using file = new LogFile(
    { path, bytesMax: 12, ageMsMax: hourMs, keep: 2 },
    { clock: new FakeClock(), report: noReport },
  )
  for (const line of ['one\n', 'two\n', 'three\n', 'four is longer than a file\n', 'five\n', 'six\n']) file.write(line)
  assert.equal(readFileSync(path, 'utf8'), 'five\nsix\n')
  assert.equal(readFileSync(`${path}.1`, 'utf8'), 'four is longer than a file\n')
  assert.equal(readFileSync(`${path}.2`, 'utf8'), 'three\n')
  assert.deepEqual(readdirSync(directory.path).toSorted(), ['a.log', 'a.log.1', 'a.log.2'])
})

test('a log file is rotated when it is old enough, and goes on after a restart', () => {
  using directory = temporaryDirectory()
  const path = directory.file('a.log')
  const clock = new FakeClock(Date.now())
  const options = { path, bytesMax: 1000, ageMsMax: hourMs, keep: 3 }
  {
    using file = new LogFile(options, { clock, report: noReport })
    file.write('one\n')
  }
  using file = new LogFile(options, { clock, report: noReport })
  file.write('two\n')
  clock.advance(hourMs + 60_000)
  file.write('three\n')
  assert.equal(readFileSync(`${path}.1`, 'utf8'), 'one\ntwo\n')
  assert.equal(readFileSync(path, 'utf8'), 'three\n')
})

test('a log file that cannot be rotated is reported once a minute, and no line and no old file is lost', () => {
  using directory = temporaryDirectory()
  const path = directory.file('a.log')
  const clock = new FakeClock()
  const reports: string[] = []
  using file = new LogFile(
    { path, bytesMax: 4, ageMsMax: hourMs, keep: 3 },
    { clock, report: (sentence) => reports.push(sentence) },
  )
  for (const line of ['one\n', 'two\n', 'three\n']) file.write(line)
  // A folder with the name of the new file cannot be opened for writing, and one with the name of the oldest not replaced.
  for (const obstacle of ['new', '3']) {
    mkdirSync(`${path}.${obstacle}/content`, { recursive: true })
    file.write('x\n')
    file.write('y\n')
    rmSync(`${path}.${obstacle}`, { recursive: true })
    // The next attempt follows after a minute.
    file.write('z\n')
    assert.match(readFileSync(path, 'utf8'), /x\ny\nz\n$/)
    clock.advance(61_000)
  }
  assert.equal(reports.length, 2)
  assert.match(reports[0] ?? '', /^The log file .*a\.log cannot be rotated: /)
  assert.equal(readFileSync(path, 'utf8'), 'three\nx\ny\nz\nx\ny\nz\n')
  file.write('four\n')
  const oldFiles = ['', '.1', '.2', '.3'].map((suffix) => readFileSync(`${path}${suffix}`, 'utf8'))
  assert.deepEqual(oldFiles, ['four\n', 'three\nx\ny\nz\nx\ny\nz\n', 'two\n', 'one\n'])
  assert.deepEqual(readdirSync(directory.path).toSorted(), ['a.log', 'a.log.1', 'a.log.2', 'a.log.3'])
})

test('a log file in a folder that does not exist is refused at the start', () => {
  using directory = temporaryDirectory()
  const path = directory.file('missing/a.log')
  assert.throws(
    () => new LogFile({ path, bytesMax: 4, ageMsMax: hourMs, keep: 1 }, { report: noReport }),
    (error) =>
      error instanceof UsageError && /^--log-file: .*a\.log cannot be written \(ENOENT\): give/.test(error.message),
  )
  assert.equal(existsSync(path), false)
})

test('lines of a file begin with their time, and those on a terminal with a coloured level', () => {
  const lines: string[] = []
  const write = (line: string): unknown => lines.push(line)
  const log = createLogger({
    format: 'text',
    sinks: [
      { write, withColor: true },
      { write, withTime: true },
    ],
  })
  log.warn('Careful', { node: 7n })
  assert.equal(lines[0], '\x1b[93mWARNING \x1b[0m:   Careful node=7\n')
  assert.match(lines[1] ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING : {3}Careful node=7\n$/)
})

const read = (...argv: string[]) =>
  readLogSettings(parseOptions('program', '', [...logRows, ...rotationRows], argv) ?? assert.fail('no values'))

test('sizes have units, and the names of Flower count too', () => {
  assert.deepEqual(read(), {
    format: 'text',
    withTime: false,
    file: undefined,
    fileBytesMax: 20 * 1024 * 1024,
    fileAgeMsMax: 24 * hourMs,
    filesKept: 7,
  })
  assert.equal(read('--log-max-size', '500k').fileBytesMax, 500 * 1024)
  assert.equal(read('--log-keep', '3').filesKept, 3)
  assert.equal(read('--log-rotation-backup-count', '9').filesKept, 9)
  for (const size of ['0', '10', '1T', '1025G', 'K', '-1M', '1.5M', ''])
    assert.throws(() => read('--log-max-size', size), /--log-max-size must be a number with K, M or G behind it/)
  assert.throws(() => read('--log-keep', '0'), /--log-keep must be a whole number of at least 1/)
  assert.throws(
    () => read('--log-rotation-backup-count', '1001'),
    /--log-rotation-backup-count must be .* at most 1000/,
  )
})

test('the SuperExec of a server writes a file of its own beside the log of the server', () => {
  assert.deepEqual(logArguments(read('--log-file', 'logs/superlink.log', '--log-time')), [
    ...['--log-format', 'text', '--log-time', '--log-file', 'logs/superlink.superexec.log'],
    ...['--log-max-size', String(20 * 1024 ** 2), '--log-keep', '7'],
  ])
  assert.deepEqual(logArguments(read()), ['--log-format', 'text'])
})

test('the SuperExec of a server understands each size and count that the server accepts', () => {
  for (const options of [
    ['--log-max-size', '1G'],
    ['--log-max-size', '1024G'],
    ['--log-max-size', '999999K'],
    ['--log-rotation-backup-count', '1000'],
  ]) {
    const { fileBytesMax, filesKept } = read('--log-file', 'a.log', ...options)
    const passedOn = read(...logArguments(read('--log-file', 'a.log', ...options)))
    assert.deepEqual([passedOn.fileBytesMax, passedOn.filesKept], [fileBytesMax, filesKept])
  }
})
