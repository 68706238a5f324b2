import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { FakeClock, letPass } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { FreeSpace, lowMarkOf } from './free-space.ts'
import { limits } from './limits.ts'

const GiB = 1024 ** 3

/** Looks once at each of these amounts of free space; returns what was logged at each look. */
async function logged(free: readonly number[], folders = ['/data'], diskOf = (_folder: string) => 1) {
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const stop = new AbortController()
  let looks = 0
  const space = new FreeSpace({
    ...{ clock, log, folders },
    look: async (folder) => {
      const freeBytes = free[Math.floor(looks++ / folders.length)] as number
      return { disk: diskOf(folder), freeBytes, totalBytes: 100 * GiB }
    },
  })
  const watch = space.watch(stop.signal)
  await letPass(clock, 'all looks', () => looks === free.length * folders.length, limits.freeSpaceLookEveryMs)
  stop.abort()
  await watch
  return { lines, disks: space.disks }
}

test('a disk that becomes nearly full is reported once with its folder and the remedy, and its end once', async () => {
  const { lines } = await logged([6, 5, 4.9, 4, 3, 5.2, 4.9, 7, 7].map((size) => size * GiB))
  assert.deepEqual(lines, [
    'warn 5017 MiB are left on the disk that holds /data: free some space on it or enlarge it. When it is full, nothing can be stored and runs wait.',
    'info The disk that holds /data has 7168 MiB free again',
  ])
})

test('two folders of one disk are one report, of two disks two', async () => {
  const one = await logged([1 * GiB], ['/data', '/data/objects'])
  assert.deepEqual([one.lines.length, one.disks.map(({ folder }) => folder)], [1, ['/data']])
  const two = await logged([1 * GiB], ['/data', '/objects'], (folder) => folder.length)
  assert.equal(two.lines.length, 2)
})

test('the mark is 5 % or 1 GiB, whichever is more, but at most a quarter of the disk', () => {
  assert.deepEqual(
    [2, 10, 20, 100].map((size) => lowMarkOf(size * GiB) / GiB),
    [0.5, 1, 1, 5],
  )
})

test('a real folder has a disk with free space; a folder that is missing is left out', async () => {
  using home = temporaryDirectory()
  const { log, lines } = recordingLogger()
  const clock = new FakeClock()
  const space = new FreeSpace({ clock, log, folders: [home.file('missing'), home.path] })
  const stop = new AbortController()
  const watch = space.watch(stop.signal)
  await letPass(clock, 'the first look', () => space.disks.length > 0, 0)
  stop.abort()
  await watch
  assert.deepEqual(
    [space.disks.map(({ folder }) => folder), lines.filter((line) => line.includes('missing'))],
    [[home.path], []],
  )
  assert.ok((space.disks[0]?.freeBytes ?? 0) > 0)
})
