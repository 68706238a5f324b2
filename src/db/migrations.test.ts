import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { openDatabase } from './database.ts'
import { migrations } from './migrations.ts'

/** A database as the release with this many versions left it. */
function writeVersion(path: string, version: number, fill: (db: DatabaseSync) => void): void {
  const db = new DatabaseSync(path)
  for (const sql of migrations.slice(0, version)) db.exec(sql)
  db.exec(`PRAGMA user_version = ${version}`)
  fill(db)
  db.close()
}

const unifiedMessages = 8

test('messages of a release that kept instructions and replies apart get the state that they were in', async () => {
  using folder = temporaryDirectory()
  const path = folder.file('state.db')
  const node = 7
  writeVersion(path, unifiedMessages, (db) => {
    const addMessage = (id: string, replyTo: string, deliveredAt: number | null): void => {
      const [kind, from, to] = replyTo === '' ? ['instruction', 1, node] : ['reply', node, 1]
      db.prepare(
        `INSERT INTO message (message_id, kind, run_id, src_node_id, dst_node_id, reply_to, group_id, message_type,
           created_at, ttl, object_tree, delivered_at) VALUES (?, ?, 5, ?, ?, ?, '', 'train', 0, 1, x'', ?)`,
      ).run(id, kind, from, to, replyTo, deliveredAt)
    }
    const addObject = (message: string, available: number): void => {
      const id = `object of ${message} ${available}`
      db.prepare('INSERT INTO object (object_id, available, size) VALUES (?, ?, 0)').run(id, available)
      db.prepare('INSERT INTO message_object VALUES (?, ?)').run(message, id)
    }
    const received = 1
    for (const [id, deliveredAt, ...objects] of [
      ['announced', null, 1, 0],
      ['offered', null, 1],
      ['fetched', received, 1],
      ['fetched early', received, 1, 0],
      ['held', received],
      ['answered', received, 1],
      ['answered and confirmed', received],
      ['answered in part', received, 1],
      ['confirmed and answered in part', received],
    ] as const) {
      addMessage(id, '', deliveredAt)
      for (const available of objects) addObject(id, available)
    }
    for (const [id, replyTo, ...objects] of [
      ['whole', 'answered', 1, 1],
      ['whole too', 'answered and confirmed', 1],
      ['part', 'answered in part', 1, 0],
      ['part too', 'confirmed and answered in part', 0],
    ] as const) {
      addMessage(id, replyTo, null)
      for (const available of new Set(objects)) addObject(id, available)
    }
  })
  await using database = openDatabase({ path })
  const rows = await database.read.selectFrom('message').select(['message_id', 'state']).execute()
  assert.deepEqual(Object.fromEntries(rows.map((row) => [row.message_id, row.state])), {
    announced: 'announced',
    offered: 'offered',
    fetched: 'fetched',
    'fetched early': 'fetched',
    held: 'held',
    answered: 'answered',
    'answered and confirmed': 'answered',
    'answered in part': 'fetched',
    'confirmed and answered in part': 'held',
    whole: 'offered',
    'whole too': 'offered',
    part: 'announced',
    'part too': 'announced',
  })
  const participants = await database.read.selectFrom('participant').selectAll().execute()
  assert.deepEqual(
    participants.map((row) => [row.run_id, row.node_id]),
    [[5n, 7n]],
  )
})

test('a database of any earlier version opens', async () => {
  for (let version = 1; version < migrations.length; version++) {
    using folder = temporaryDirectory()
    const path = folder.file('state.db')
    writeVersion(path, version, () => {})
    await using database = openDatabase({ path })
    assert.deepEqual(await database.read.selectFrom('message').select('state').execute(), [], `version ${version}`)
  }
})
