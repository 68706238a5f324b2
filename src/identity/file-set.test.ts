import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { eventually } from '../../test/harness/program.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { UsageError } from '../base/errors.ts'
import { FileSet } from './file-set.ts'

/** A set of two files that belong together when they hold the same word; `bad` is not a word. */
async function openPair(directory: string, clock: Clock = systemClock) {
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
  return { set, lines, results }
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
    const { set } = await openPair(path)
    await using _ = set
    for (let round = 1; round <= 5; round++) {
      swap(round)
      rmSync(file(`..data-${round - 1}`), { recursive: true })
      await eventually(`swap ${round}`, () => set.current() === `swapped ${round}`, 2500)
    }
  }
  for (const name of ['one', 'two']) rmSync(file(name))
  writeBoth(path, 'first')
  const { set, lines } = await openPair(path)
  await using _ = set
  writeBoth(path, 'in place')
  await eventually('the write', () => set.current() === 'in place', 2500)
  for (const name of ['one', 'two']) {
    writeFileSync(file(`${name}.new`), 'renamed')
    renameSync(file(`${name}.new`), file(name))
  }
  await eventually('the renaming', () => set.current() === 'renamed', 2500)
  assert.deepEqual(
    lines.filter((line) => line.startsWith('warn')),
    [],
  )
})

test('a set that is written slowly is left alone until it rests, and a bad one leaves the last good one in use', async () => {
  using directory = temporaryDirectory()
  const { path, file } = directory
  writeBoth(path, 'good')
  const { set, lines, results } = await openPair(path)
  await using _ = set
  writeFileSync(file('one'), 'better')
  await eventually('the fault', () => set.problem?.sentence === 'better is not good.', 2500)
  assert.equal(set.current(), 'good')
  writeFileSync(file('two'), 'better')
  await eventually('the other half', () => set.current() === 'better', 2500)
  const problem = (): string | undefined => set.problem?.sentence
  assert.equal(problem(), undefined)

  rmSync(file('two'))
  await eventually('the fault', () => set.problem !== undefined, 2500)
  assert.match(problem() ?? '', /ENOENT/)
  assert.equal(set.current(), 'better')
  writeFileSync(file('two'), 'better')
  await eventually('the way back', () => set.problem === undefined, 2500)
  assert.equal(set.current(), 'better')
  assert.equal(results.filter((result) => result === 'kept').length, 2)
  assert.equal(lines.filter((line) => /Kept the pair that is in use/.test(line)).length, 2)
  assert.equal(lines.filter((line) => /good again/.test(line)).length, 1)
})

test('SIGHUP makes a set look at once', async () => {
  using directory = temporaryDirectory()
  const clock = new FakeClock()
  writeBoth(directory.path, 'good')
  const { set } = await openPair(directory.path, clock)
  await using _ = set
  const startedAt = clock.now()
  writeBoth(directory.path, 'better')
  process.kill(process.pid, 'SIGHUP')
  await eventually('the new set', () => {
    clock.advance(5)
    return set.current() === 'better'
  })
  assert.ok(clock.now() - startedAt < 900, 'before the next comparison was due')
  await set[Symbol.asyncDispose]()
  assert.equal(process.listenerCount('SIGHUP'), 0)
})

test('the clock alone can make a set good, and it is told of once', async () => {
  using directory = temporaryDirectory()
  const clock = new FakeClock()
  const validAt = clock.now() + 3600_000
  const { log, lines } = recordingLogger()
  const path = directory.file('file')
  writeFileSync(path, 'now')
  await using set = await FileSet.open({
    ...{ name: 'set', clock, log, paths: () => [path] },
    read() {
      const value = readFileSync(path, 'utf8')
      if (value === 'later' && clock.now() < validAt) throw new UsageError('not yet valid.')
      return { value, warnings: [] }
    },
  })
  writeFileSync(path, 'later')
  const pass = async (what: string, done: () => boolean): Promise<void> => {
    await eventually(what, () => {
      clock.advance(1000)
      return done()
    })
  }
  await pass('the fault', () => set.problem !== undefined)
  let looked = 0
  await pass('a few more looks', () => ++looked > 20)
  assert.equal(set.current(), 'now')
  clock.advance(3600_000)
  await pass('the instant', () => set.current() === 'later')
  assert.equal(lines.filter((line) => line.startsWith('warn')).length, 1)
})
