import assert from 'node:assert/strict'
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { cutOutputFile } from './output-file.ts'

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
  // A link into a missing folder cannot be written, as a file on a full disk.
  symlinkSync(directory.file('missing/file'), `${path}.1`)
  appendFileSync(path, 'longer than eight bytes')
  cutOutputFile(path, 8)
  assert.deepEqual(readdirSync(directory.path), ['trellis.log'])
  assert.equal(readFileSync(path, 'utf8'), '')
  mkdirSync(`${path}.1`)
  appendFileSync(path, 'longer than eight bytes')
  cutOutputFile(path, 8)
  assert.deepEqual(readdirSync(directory.path), ['trellis.log', 'trellis.log.1'])
  assert.equal(readFileSync(path, 'utf8'), '')
})
