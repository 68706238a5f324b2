import assert from 'node:assert/strict'
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { FakeClock, letPass } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { UsageError } from '../base/errors.ts'
import { FileSet } from './file-set.ts'

/** A set of two files that belong together when they hold the same word; `bad` is not a word. */
async function openPair(directory: string, clock = new FakeClock()) {
  const { log, lines } = recordingLogger()
  const paths = ['one', 'two'].map((name) => join(directory, name))
  const results: string[] = []
  const set = await FileSet.open({
    ...{ name: 'pair', clock, log, restMs: 20, paths: () => paths },
    onReload: (_name, result) => void results.push(result),
    read() {
      const [one, two] = paths.map((path) => readFileSync(path, 'utf8'))
      if (one !== two) throw new UsageError(`${one} is not ${two}.`)
      if (one === 'bad') throw new UsageError('bad.')
      return { value: one as string, warnings: [] }
    },
  })
  const pass = (what: string, done: () => boolean): Promise<void> => letPass(clock, what, done)
  return { set, lines, results, pass }
}

function writeBoth(directory: string, word: string): void {
  for (const name of ['one', 'two']) writeFileSync(join(directory, name), word)
}

test('files are seen to change in place, by renaming over them, and when a folder behind a link is swapped', async () => {
  using directory = temporaryDirectory()
  const { path, file } = directory
  const swap = (round: number): void => {
    mkdirSync(file(`..data-${round}`))
    writeBoth(file(`..data-${round}`), `swapped ${round}`)
    symlinkSync(`..data-${round}`, file('..data_tmp'))
    renameSync(file('..data_tmp'), file('..data'))
  }
  swap(0)
  for (const name of ['one', 'two']) symlinkSync(join('..data', name), file(name))
  {
    const { set, pass } = await openPair(path)
    await using _ = set
    for (let round = 1; round <= 5; round++) {
      swap(round)
      rmSync(file(`..data-${round - 1}`), { recursive: true })
      await pass(`swap ${round}`, () => set.current() === `swapped ${round}`)
    }
  }
  for (const name of ['one', 'two']) rmSync(file(name))
  writeBoth(path, 'first')
  const { set, lines, pass } = await openPair(path)
  await using _ = set
  writeBoth(path, 'in place')
  await pass('the write', () => set.current() === 'in place')
  for (const name of ['one', 'two']) {
    writeFileSync(file(`${name}.new`), 'renamed')
    renameSync(file(`${name}.new`), file(name))
  }
  await pass('the renaming', () => set.current() === 'renamed')
  assert.deepEqual(
    lines.filter((line) => line.startsWith('warn')),
    [],
  )
})

test('a set that is written slowly is left alone until it rests, and a bad one leaves the last good one in use', async () => {
  using directory = temporaryDirectory()
  const { path, file } = directory
  writeBoth(path, 'good')
  const { set, lines, results, pass } = await openPair(path)
  await using _ = set
  writeFileSync(file('one'), 'better')
  await pass('the fault', () => set.problem?.sentence === 'better is not good.')
  assert.equal(set.current(), 'good')
  writeFileSync(file('two'), 'better')
  await pass('the other half', () => set.current() === 'better')
  const problem = (): string | undefined => set.problem?.sentence
  assert.equal(problem(), undefined)

  rmSync(file('two'))
  await pass('the fault', () => set.problem !== undefined)
  assert.match(problem() ?? '', /ENOENT/)
  assert.equal(set.current(), 'better')
  writeFileSync(file('two'), 'better')
  await pass('the way back', () => set.problem === undefined)
  assert.equal(set.current(), 'better')
  assert.equal(results.filter((result) => result === 'kept').length, 2)
  assert.equal(lines.filter((line) => /Kept the pair that is in use/.test(line)).length, 2)
  assert.equal(lines.filter((line) => /good again/.test(line)).length, 1)
})

test('SIGHUP makes a set look at once', async () => {
  using directory = temporaryDirectory()
  // The files have other names in another folder: what is written there is not seen by the watch of the first one.
  using elsewhere = temporaryDirectory()
  const clock = new FakeClock()
  writeBoth(directory.path, 'good')
  for (const name of ['one', 'two']) linkSync(directory.file(name), elsewhere.file(name))
  const { set } = await openPair(directory.path, clock)
  await using _ = set
  writeBoth(elsewhere.path, 'better')
  process.kill(process.pid, 'SIGHUP')
  // Before the next comparison is due, which is after a second.
  await letPass(clock, 'the new set', () => set.current() === 'better', 500)
  await set[Symbol.asyncDispose]()
  assert.equal(process.listenerCount('SIGHUP'), 0)
})

test('the clock alone can make a set good, and it is logged once', async () => {
  using directory = temporaryDirectory()
  const clock = new FakeClock()
  const validAt = clock.now() + 3600_000
  const { log, lines } = recordingLogger()
  const path = directory.file('file')
  writeFileSync(path, 'now')
  let reads = 0
  await using set = await FileSet.open({
    ...{ name: 'set', clock, log, paths: () => [path] },
    read() {
      reads++
      const value = readFileSync(path, 'utf8')
      if (value === 'later' && clock.now() < validAt) throw new UsageError('not yet valid.')
      return { value, warnings: [] }
    },
  })
  writeFileSync(path, 'later')
  const pass = (what: string, done: () => boolean): Promise<void> => letPass(clock, what, done)
  await pass('the fault', () => set.problem !== undefined)
  const before = reads
  await pass('a few more looks', () => reads > before + 20)
  assert.ok(clock.now() < validAt)
  assert.equal(set.current(), 'now')
  clock.advance(3600_000)
  await pass('the instant', () => set.current() === 'later')
  assert.equal(lines.filter((line) => line.startsWith('warn')).length, 1)
})
