import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, mock, test } from 'node:test'
import { observeQueries } from '../../test/harness/query-plans.ts'
import { onlyWithSqlite, openTestDatabase } from '../../test/harness/test-database.ts'
import { FileContent } from '../base/file-content.ts'
import type { AfterCommit, Database, Db } from '../db/database.ts'
import { encodeObject, objectId } from './object-format.ts'
import { createObjectStore } from './object-store.ts'

const directory = mkdtempSync(join(tmpdir(), 'trellis-objects-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)

const chunk = (size: number, fill: number) => encodeObject('ArrayChunk', [], new Uint8Array(size).fill(fill))

// The rules of the store hold for objects in rows and in files, durable or not.
const kinds = [true, false].flatMap((durable) => [
  { name: `small ${durable ? 'durable ' : ''}`.trim(), durable, bytes: chunk(10, 1) },
  { name: `large ${durable ? 'durable ' : ''}`.trim(), durable, bytes: chunk(100_000, 2) },
])
for (const { name, durable, bytes } of kinds) {
  test(`a ${name} object lives from its announcement until the last message that names it is released`, async () => {
    await using db = await openTestDatabase()
    const store = await createObjectStore({ db, directory: join(directory, name.replace(' ', '-')), durable })
    const id = objectId(bytes)

    assert.equal(await store.put(id, bytes), 'unknown')
    assert.deepEqual(await db.transaction((tx) => store.announce(tx, 'm1', [id])), [id])
    assert.deepEqual(await store.get(id), { content: undefined })

    const waiting = store.get(id, { waitMs: 5000 })
    assert.equal(await store.put(id, bytes), 'stored')
    assert.deepEqual(Buffer.from((await waiting)?.content ?? []), Buffer.from(bytes), 'the waiter is woken')

    assert.deepEqual(await db.transaction((tx) => store.announce(tx, 'm2', [id])), [], 'it is not uploaded twice')
    await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m1']))
    assert.ok((await store.get(id))?.content)
    await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m2']))
    assert.equal(await store.get(id), undefined)
    assert.equal(await store.has(id), false)
  })

  test(`a ${name} object is stored for a sender only while its message names it`, async () => {
    await using db = await openTestDatabase()
    const store = await createObjectStore({
      db,
      directory: join(directory, `wanted-${name.replace(' ', '-')}`),
      durable,
    })
    const id = objectId(bytes)
    await db.transaction((tx) => store.announce(tx, 'another', [id]))
    assert.equal(await store.put(id, bytes, async () => false), 'unknown')
    assert.deepEqual(await store.get(id), { content: undefined })
    assert.equal(await store.put(id, bytes, async () => true), 'stored')
    assert.equal(await store.put(id, bytes), 'stored', 'again')
  })

  test(`a call that waits for a ${name} object ends when the object is released`, async () => {
    await using db = await openTestDatabase()
    const store = await createObjectStore({ db, directory: join(directory, `gone-${name.replace(' ', '-')}`), durable })
    const id = objectId(bytes)
    await db.transaction((tx) => store.announce(tx, 'm', [id]))
    const waiting = store.get(id, { waitMs: 60_000 })
    await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m']))
    assert.equal(await waiting, undefined)
  })
}

test('a large object that was written to a file while it arrived is moved to its place, or leaves no file', async () => {
  await using db = await openTestDatabase()
  const home = join(directory, 'incoming')
  const store = await createObjectStore({ db, directory: home, durable: true })
  const put = async (id: string, bytes: Uint8Array) => {
    await using file = (await store.openFile()) ?? assert.fail('no file')
    await file.write(bytes)
    await file.finish()
    return await store.put(id, file)
  }
  const children = Array.from({ length: 1500 }, (_, index) => String(index).padStart(64, '0'))
  const record = encodeObject('ArrayRecord', children, new Uint8Array(2_000_000).fill(3))
  const id = objectId(record)
  assert.equal(await put(id, record), 'unknown')
  await db.transaction((tx) => store.announce(tx, 'm', [id]))
  assert.equal(await put(id, record.subarray(1)), 'mismatch')
  const garbage = new Uint8Array(2_000_000).fill(1)
  await assert.rejects(put(objectId(garbage), garbage), /Malformed object: no head/)
  assert.deepEqual(filesBelow(home), [])
  assert.equal(await put(id, record), 'stored')
  assert.equal(await put(id, record), 'stored', 'again')
  assert.deepEqual(filesBelow(home), [id])
  assert.ok(Buffer.from(record).equals((await store.get(id))?.content ?? new Uint8Array()))
  assert.deepEqual(await store.listKinds([id]), new Map([[id, 'other']]))
})

test('a disk that is full while an object arrives is the known refusal, and counted', async () => {
  await using db = await openTestDatabase()
  const home = join(directory, 'full')
  const full: number[] = []
  const onFull = (bytes: number): void => void full.push(bytes)
  const store = await createObjectStore({ db, directory: home, durable: false, onFull })
  const handles = Object.getPrototypeOf(await open(directory, 'r').then((file) => file.close().then(() => file)))
  const write = mock.method(handles, 'write', async () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  })
  try {
    await using file = (await store.openFile()) ?? assert.fail('no file')
    await assert.rejects(async () => file.write(new Uint8Array(300_000)), { code: 'storage-full' })
  } finally {
    write.mock.restore()
  }
  assert.deepEqual(full, [256 * 1024])
  assert.deepEqual(filesBelow(home), [])
})

test('bytes with another hash and bytes that are no object are refused', async () => {
  await using db = await openTestDatabase()
  const store = await createObjectStore({ db, directory: join(directory, 'refused'), durable: false })
  assert.equal(await store.put('0'.repeat(64), chunk(1, 1)), 'mismatch')
  const garbage = Buffer.from('not an object')
  await assert.rejects(store.put(objectId(garbage), garbage), /Malformed object/)
})

/** A database that does something else before its next transaction. */
function interrupted(db: Database): { db: Database; before: (work: () => Promise<unknown>) => void } {
  let next = async (): Promise<unknown> => undefined
  return {
    db: {
      read: db.read,
      async transaction(body) {
        const work = next
        next = async () => undefined
        await work()
        return db.transaction(body)
      },
      close: () => db.close(),
      [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
    },
    before: (work) => {
      next = work
    },
  }
}

test('an object that is released while its file is written leaves no file', async () => {
  await using db = await openTestDatabase()
  const home = join(directory, 'released')
  const { db: busy, before } = interrupted(db)
  const store = await createObjectStore({ db: busy, directory: home, durable: true })
  const bytes = chunk(100_000, 4)
  await db.transaction((tx) => store.announce(tx, 'm', [objectId(bytes)]))
  before(() => db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m'])))
  assert.equal(await store.put(objectId(bytes), bytes), 'unknown')
  assert.deepEqual(filesBelow(home), [])
})

test('an upload that cannot be kept leaves no file, and works when it is tried again', async () => {
  await using db = await openTestDatabase()
  const home = join(directory, 'not-kept')
  const { db: busy, before } = interrupted(db)
  const store = await createObjectStore({ db: busy, directory: home, durable: false })
  const bytes = chunk(100_000, 5)
  await db.transaction((tx) => store.announce(tx, 'm', [objectId(bytes)]))
  before(() => Promise.reject(new Error('disk full')))
  await assert.rejects(store.put(objectId(bytes), bytes), /disk full/)
  assert.deepEqual(filesBelow(home), [])
  assert.equal(await store.put(objectId(bytes), bytes), 'stored')
})

test('an object that is announced again while it is deleted leaves no file', async () => {
  await using db = await openTestDatabase()
  const home = join(directory, 'again')
  const store = await createObjectStore({ db, directory: home, durable: true })
  const bytes = chunk(100_000, 6)
  const id = objectId(bytes)
  const release = (message: string) => db.transaction((tx, afterCommit) => store.release(tx, afterCommit, [message]))
  const announce = (message: string) => db.transaction((tx) => store.announce(tx, message, [id]))
  await announce('m')
  await store.put(id, bytes)
  await Promise.all([release('m'), announce('n')])
  assert.equal(await store.put(id, bytes), 'stored')
  await Promise.all([release('n'), announce('o')])
  await release('o')
  // Takes its turn after the deletions.
  assert.equal(await store.put(id, bytes), 'unknown')
  assert.deepEqual(filesBelow(home), [])
})

test('objects that come with their message are stored in its transaction, or not at all', async () => {
  await using db = await openTestDatabase()
  const arrived: string[] = []
  const home = join(directory, 'carried')
  const onStored = async (_tx: Db, afterCommit: AfterCommit, ids: readonly string[]) =>
    afterCommit(() => arrived.push(...ids))
  const store = await createObjectStore({ db, directory: home, durable: false, onStored })
  // Larger than an object that comes alone and is kept in its row.
  const contents = [chunk(10, 7), chunk(50_000, 8)]
  const carried = new Map(
    contents.map((bytes) => [objectId(bytes), { id: objectId(bytes), type: 'ArrayChunk', bytes }]),
  )
  const ids = [...carried.keys(), objectId(chunk(10, 9))]
  const keep = (message: string) =>
    db.transaction(async (tx, effect) => [
      ...(await store.announceAll(tx, effect, [{ messageId: message, objectIds: ids }], carried)),
    ])
  await assert.rejects(
    db.transaction(async (tx, afterCommit) => {
      await store.announceAll(tx, afterCommit, [{ messageId: 'm', objectIds: ids }], carried)
      throw new Error('no')
    }),
    /no/,
  )
  assert.equal(await store.get(ids[0] as string), undefined)
  await db.transaction((tx) => store.announce(tx, 'another', ids.slice(0, 1)))
  const waiting = store.get(ids[0] as string, { waitMs: 5000 })
  assert.deepEqual(await keep('m'), ids.slice(2))
  assert.deepEqual(await keep('n'), ids.slice(2))
  assert.ok((await waiting)?.content)
  assert.deepEqual(arrived, ids.slice(0, 1), 'what other messages wait for')
  const sizes = contents.map(({ length }) => length)
  assert.deepEqual(await store.sizesOf(ids), new Map(ids.slice(0, 2).map((id, index) => [id, sizes[index]])))
  assert.deepEqual([...(await store.contentsOf(ids)).values()].map(objectId).toSorted(), ids.slice(0, 2).toSorted())
  await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m', 'another']))
  assert.equal(await store.has(ids[1] as string), true)
  await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['n']))
  assert.equal(await store.get(ids[1] as string), undefined)
  assert.deepEqual(filesBelow(home), [])
})

test('what a crash left behind is removed at the next start', async () => {
  await using db = await openTestDatabase()
  const home = join(directory, 'crash')
  const bytes = chunk(100_000, 3)
  const store = await createObjectStore({ db, directory: home, durable: true })
  await db.transaction((tx) => store.announce(tx, 'm', [objectId(bytes)]))
  await store.put(objectId(bytes), bytes)
  await db.transaction(async (tx) => {
    await tx.deleteFrom('message_object').execute()
    await tx.deleteFrom('object').execute()
  })
  // Its file was written, and the crash came before its row said so.
  const half = chunk(100_000, 8)
  await db.transaction((tx) => store.announce(tx, 'half', [objectId(half)]))
  await store.put(objectId(half), half)
  await db.transaction((tx) => tx.updateTable('object').set({ available: 0, size: 0 }).execute())
  await createObjectStore({ db, directory: home, durable: true })
  assert.deepEqual(filesBelow(home), [])
})

test('a large object that is being sent is read from its file, also after its release', async () => {
  await using db = await openTestDatabase()
  const store = await createObjectStore({ db, directory: join(directory, 'sent'), durable: false })
  const [small, large] = [chunk(100_000, 1), chunk(1_200_000, 2)]
  const ids = [small, large].map(objectId) as [string, string]
  await db.transaction((tx) => store.announce(tx, 'm', ids))
  for (const bytes of [small, large]) await store.put(objectId(bytes), bytes)
  assert.ok((await store.open(ids[0]))?.content instanceof Uint8Array)
  const content = (await store.open(ids[1]))?.content
  assert.ok(content instanceof FileContent)
  assert.equal(content.length, large.length)
  await content.open()
  await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m']))
  const read = Buffer.concat([await content.read(0, 1_000_000), await content.read(1_000_000, 1_000_000)])
  await content.close()
  assert.ok(read.equals(large))
})

test('an object that many nodes ask for is read from the database once, until it is deleted', {
  skip: onlyWithSqlite(),
}, async () => {
  await using db = await openTestDatabase()
  const store = await createObjectStore({ db, directory: join(directory, 'shared'), durable: false })
  const bytes = chunk(4000, 3)
  const id = objectId(bytes)
  await db.transaction((tx) => store.announce(tx, 'message', [id]))
  await store.put(id, bytes)
  const queries = observeQueries(db)
  for (let node = 0; node < 100; node++) assert.deepEqual((await store.get(id))?.content, new Uint8Array(bytes))
  assert.deepEqual([...queries.counts().values()], [1])
  await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['message']))
  assert.equal(await store.get(id), undefined)
})

test('the file of an object goes although the object comes again along with a message in the same commit', async () => {
  await using db = await openTestDatabase()
  const folder = join(directory, 'again')
  const store = await createObjectStore({ db, directory: folder, durable: false })
  const bytes = chunk(100_000, 9)
  const id = objectId(bytes)
  await db.transaction((tx) => store.announce(tx, 'm1', [id]))
  await store.put(id, bytes)
  assert.equal(filesBelow(folder).length, 1)
  await db.transaction(async (tx, afterCommit) => {
    await store.release(tx, afterCommit, ['m1'])
    const carried = new Map([[id, { id, type: 'ArrayChunk', bytes }]])
    await store.announceAll(tx, afterCommit, [{ messageId: 'm2', objectIds: [id] }], carried)
  })
  // Takes its turn after the deletion.
  assert.equal(await store.put(id, bytes), 'stored')
  assert.deepEqual(filesBelow(folder), [])
  assert.deepEqual(Buffer.from((await store.get(id))?.content ?? []), Buffer.from(bytes))
})
