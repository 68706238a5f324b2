import assert from 'node:assert/strict'
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from './errors.ts'
import { boundOutputFile, cutOutputFile, ensureIsOutput } from './output-file.ts'

test('an output file that is too large begins again, and programs that have it open go on writing', () => {
  using directory = temporaryDirectory()
  const path = directory.file('trellis.log')
  const writer = openSync(path, 'a')
  writeSync(writer, 'one\ntwo\n')
  cutOutputFile(path, 8)
  assert.deepEqual(readdirSync(directory.path), ['trellis.log'])
  writeSync(writer, 'three\n')
  cutOutputFile(path, 8)
  writeSync(writer, 'four\n')
  closeSync(writer)
  assert.equal(readFileSync(`${path}.1`, 'utf8'), 'one\ntwo\nthree\n')
  assert.equal(readFileSync(path, 'utf8'), 'four\n')
})

test('an output file is bounded even if no copy of it can be made, and its absence is no error', () => {
  using directory = temporaryDirectory()
  const path = directory.file('trellis.log')
  cutOutputFile(path, 8)
  assert.deepEqual(readdirSync(directory.path), [])
  // A link into a missing folder cannot be written.
  symlinkSync(directory.file('missing/file'), `${path}.1`)
  appendFileSync(path, 'longer than eight bytes')
  cutOutputFile(path, 8)
  assert.equal(readFileSync(path, 'utf8'), '')
  unlinkSync(`${path}.1`)
  mkdirSync(`${path}.1`)
  appendFileSync(path, 'longer than eight bytes')
  cutOutputFile(path, 8)
  assert.deepEqual(readdirSync(directory.path), ['trellis.log', 'trellis.log.1'])
  assert.equal(readFileSync(path, 'utf8'), '')
})

test('a file that this program does not append its output to is refused and keeps its content', () => {
  using directory = temporaryDirectory()
  const path = directory.file('results.csv')
  writeFileSync(path, 'longer than eight bytes')
  const refused = (error: Error): boolean =>
    error instanceof UsageError && /is appended to \(>> FILE/.test(error.message)
  assert.throws(() => boundOutputFile(path, 8), refused)
  assert.throws(() => ensureIsOutput(directory.file('missing')), refused)
  const [appending, other, writing] = [
    openSync(path, 'a'),
    openSync(directory.file('other'), 'a'),
    openSync(path, 'r+'),
  ]
  ensureIsOutput(path, [other, appending])
  assert.throws(() => ensureIsOutput(path, [other]), refused)
  if (process.platform === 'linux') assert.throws(() => ensureIsOutput(path, [appending, writing]), refused)
  for (const descriptor of [appending, other, writing]) closeSync(descriptor)
  assert.equal(readFileSync(path, 'utf8'), 'longer than eight bytes')
})
