import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDatabase } from '../db/database.ts'
import { encodeObject, objectId } from './object-format.ts'
import { createObjectStore } from './object-store.ts'

const directory = mkdtempSync(join(tmpdir(), 'trellis-objects-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const chunk = (size: number, fill: number) => encodeObject('ArrayChunk', [], new Uint8Array(size).fill(fill))

for (const [name, bytes] of [
  ['small', chunk(10, 1)],
  ['large', chunk(100_000, 2)],
] as const) {
  test(`a ${name} object lives from its announcement until the last message that names it is released`, async () => {
    await using db = openDatabase({ path: ':memory:' })
    const store = await createObjectStore({ db, directory: join(directory, name), durable: true })
    const id = objectId(bytes)

    assert.equal(await store.put(id, bytes), 'unknown')
    assert.deepEqual(await db.transaction((tx) => store.announce(tx, 'm1', [id])), [id])
    assert.deepEqual(await store.get(id), { content: undefined })

    const waiting = store.get(id, { waitMs: 5000 })
    assert.equal(await store.put(id, bytes), 'stored')
    assert.deepEqual(Buffer.from((await waiting)?.content ?? []), Buffer.from(bytes), 'the waiter is woken')

    assert.deepEqual(await db.transaction((tx) => store.announce(tx, 'm2', [id])), [], 'nobody uploads it twice')
    await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m1']))
    assert.ok((await store.get(id))?.content)
    await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m2']))
    assert.equal(await store.get(id), undefined)
  })
}

test('bytes with another hash and bytes that are no object are refused', async () => {
  await using db = openDatabase({ path: ':memory:' })
  const store = await createObjectStore({ db, directory: join(directory, 'refused'), durable: false })
  assert.equal(await store.put('0'.repeat(64), chunk(1, 1)), 'mismatch')
  const garbage = Buffer.from('not an object')
  await assert.rejects(store.put(objectId(garbage), garbage), /Malformed object/)
})

test('what a crash left behind is removed at the next start', async () => {
  await using db = openDatabase({ path: ':memory:' })
  const home = join(directory, 'crash')
  const bytes = chunk(100_000, 3)
  const store = await createObjectStore({ db, directory: home, durable: true })
  await db.transaction((tx) => store.announce(tx, 'm', [objectId(bytes)]))
  await store.put(objectId(bytes), bytes)
  await db.transaction(async (tx) => {
    await tx.deleteFrom('message_object').execute()
    await tx.deleteFrom('object').execute()
  })
  await createObjectStore({ db, directory: home, durable: true })
  assert.deepEqual(readdirSync(join(home, objectId(bytes).slice(0, 2))), [])
})
