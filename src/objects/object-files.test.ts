import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { limits } from '../base/limits.ts'
import { type Disk, DiskSyncs, disk } from './disk-syncs.ts'
import { ObjectFiles, objectPath } from './object-files.ts'

const idOf = (index: number): string => (index % 7).toString(16).padStart(2, '0') + String(index).padStart(62, '0')

/** Knows which names and which contents would survive a power cut. */
function watchedDisk() {
  const names = new Map<string, Map<string, number>>()
  const contents = new Map<number, number>()
  const inodeOf = (path: string): number => statSync(path).ino
  const on: Disk = {
    async syncFile(file) {
      await disk.syncFile(file)
      const { ino, size } = await (file as import('node:fs/promises').FileHandle).stat()
      contents.set(ino, size)
    },
    async syncFolder(path) {
      // What is named while the disk works may be lost.
      const found = new Map(readdirSync(path).map((name) => [name, inodeOf(join(path, name))]))
      await disk.syncFolder(path)
      names.set(path, found)
    },
  }
  const isNamed = (path: string): boolean =>
    names.get(dirname(path))?.get(path.slice(dirname(path).length + 1)) === inodeOf(path)
  return { on, isNamed, isWhole: (path: string, size: number) => contents.get(inodeOf(path)) === size }
}

test('a file that was written survives a power cut, with all folders on its way', async () => {
  await using folder = temporaryDirectory()
  const directory = folder.file('objects')
  const { on, isNamed, isWhole } = watchedDisk()
  const files = new ObjectFiles(directory, true, on)
  await files.prepare()
  await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const path = objectPath(directory, idOf(index))
      await files.keep(idOf(index), new Uint8Array(100 + index))
      assert.ok(isNamed(directory), 'the folder of objects')
      assert.ok(isNamed(dirname(path)), 'the folder of the file')
      assert.ok(isNamed(path), 'the file')
      assert.ok(isWhole(path, 100 + index), 'its content')
    }),
  )
  assert.equal((await readFile(objectPath(directory, idOf(3)))).length, 103)
  await using arrived = (await files.openIncoming((error) => error)) ?? assert.fail('no file')
  await arrived.write(new Uint8Array(1000))
  await arrived.finish()
  const path = objectPath(directory, 'f'.repeat(64))
  await files.keep('f'.repeat(64), arrived)
  assert.ok(isNamed(dirname(path)) && isNamed(path) && isWhole(path, 1000), 'a file that arrived')
})

test('so many objects arrive in files at a time, and a file that is closed makes room for another', async () => {
  await using folder = temporaryDirectory()
  const files = new ObjectFiles(folder.file('objects'), false)
  const open = () => files.openIncoming((error) => error)
  await assert.rejects(open(), { code: 'ENOENT' })
  await files.prepare()
  await using stack = new AsyncDisposableStack()
  const opened = await Promise.all(Array.from({ length: limits.incomingFilesMax }, open))
  for (const file of opened) stack.use(file)
  assert.ok(opened.every((file) => file !== undefined))
  assert.equal(await open(), undefined)
  for (let times = 0; times < 2; times++) await opened[0]?.[Symbol.asyncDispose]()
  const next = stack.use(await open())
  assert.ok(next)
  assert.equal(await open(), undefined)
})

test('a few files wait for the disk at a time, and those of one folder share a sync that has not begun', async () => {
  const begun: string[] = []
  const ends: (() => void)[] = []
  const wait = (name: string): Promise<void> => {
    begun.push(name)
    return new Promise((resolve) => ends.push(resolve))
  }
  const syncs = new DiskSyncs({ syncFile: () => wait('file'), syncFolder: (path) => wait(path) })
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  const file = { datasync: async () => {} }
  const all = [
    syncs.syncFile(file),
    syncs.syncFile(file),
    ...['a', 'a', 'b', 'a'].map((path) => syncs.syncFolder(path)),
  ]
  await settled()
  assert.deepEqual(begun, ['file', 'file'])
  assert.equal(begun.length, limits.diskSyncsAtOnce)
  ends[0]?.()
  await settled()
  assert.deepEqual(begun, ['file', 'file', 'a'])
  // What was written since the sync began is not covered by it.
  all.push(syncs.syncFolder('a'))
  for (let index = 1; index < 5; index++) {
    ends[index]?.()
    await settled()
  }
  assert.deepEqual(begun, ['file', 'file', 'a', 'b', 'a'])
  await Promise.all(all)
})
