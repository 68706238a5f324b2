import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { after, before, test } from 'node:test'
import type { Db } from '../../src/db/database.ts'
import { openPostgres, type PostgresNotices } from '../../src/db/postgres/postgres-database.ts'
import { openPostgresReadOnly } from '../../src/db/postgres/read-only.ts'
import { parsePostgresUrl } from '../../src/db/postgres/target.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { PostgresServer, withoutPostgres } from '../harness/postgres.ts'
import { Relay } from '../harness/relay.ts'

/** What is lost at an unlucky moment between a SuperLink and its database. */

const directory = temporaryDirectory()
let server: PostgresServer
let relay: Relay

before(async () => {
  if (withoutPostgres) return
  server = await PostgresServer.start({
    admits: ['host all trellis 127.0.0.1/32 trust', 'host all flower 127.0.0.1/32 scram-sha-256'],
  })
  relay = await Relay.start(server.port)
})
after(async () => {
  relay?.[Symbol.dispose]()
  await server?.[Symbol.asyncDispose]()
  directory[Symbol.dispose]()
})

const insert = (id: bigint) => (tx: Db) =>
  tx
    .insertInto('series')
    .values({ series_id: id, federation: 'f', context: new Uint8Array([1]), parts: null })
    .execute()
const ids = async (db: { read: Db }) =>
  (await db.read.selectFrom('series').select('series_id').orderBy('series_id').execute()).map((row) => row.series_id)

async function openThroughRelay(name: string, notices: Partial<PostgresNotices> = {}) {
  await server.sql(`CREATE DATABASE ${name}`)
  return openPostgres(parsePostgresUrl(`postgres://trellis@127.0.0.1:${relay.port}/${name}`, {}), notices)
}

test('a commit whose response is lost counts as done if the database has it, and as refused otherwise', {
  skip: withoutPostgres,
}, async () => {
  await using db = await openThroughRelay('commits')
  const effects: bigint[] = []
  const attempt = (id: bigint) =>
    db.transaction(async (tx, afterCommit) => {
      afterCommit(() => effects.push(id))
      await insert(id)(tx)
    })
  for (const [id, direction] of [
    [1n, 'response'],
    [2n, 'request'],
    [3n, 'response'],
  ] as const) {
    const isCut = relay.before(direction, 'COMMIT', () => relay.cut())
    const attempted = attempt(id)
    attempted.catch(() => {})
    await isCut
    await relay.mend()
    if (direction === 'response') await attempted
    else await assert.rejects(attempted, { code: 'unavailable' })
  }
  await attempt(4n)
  assert.deepEqual(effects, [1n, 3n, 4n])
  assert.deepEqual(await ids(db), [1n, 3n, 4n])
})

test('a database that is closed before it is known whether a commit was done refuses its transactions', {
  skip: withoutPostgres,
}, async () => {
  const db = await openThroughRelay('closed')
  const effects: bigint[] = []
  const isCut = relay.before('response', 'COMMIT', () => relay.cut())
  const attempted = db.transaction(async (tx, afterCommit) => {
    afterCommit(() => effects.push(1n))
    await insert(1n)(tx)
  })
  const refused = assert.rejects(attempted, { code: 'unavailable' })
  await isCut
  await db.close()
  await refused
  await relay.mend()
  assert.deepEqual(effects, [])
})

test('a network that goes silent is noticed, and own connections that still have the lock are ended', {
  skip: withoutPostgres,
}, async () => {
  const taken: string[] = []
  await using db = await openThroughRelay('silent', { onTakenOver: (reason) => void taken.push(reason) })
  await db.transaction(insert(1n))
  assert.deepEqual(await ids(db), [1n])
  // The next connection ends the first one, gets the lock, and is lost before it hears of that.
  const { promise: isLostAgain, resolve } = Promise.withResolvers<void>()
  relay.before('response', 'pg_terminate_backend', () => {
    const loseClient = (client: Socket): void => {
      relay.silence()
      client.destroy()
    }
    relay.before('response', 'pg_try_advisory_lock', loseClient).then(resolve)
  })
  relay.silence()
  const [reading, writing] = [ids(db), db.transaction(insert(2n))]
  await isLostAgain
  await writing
  assert.deepEqual((await reading)[0], 1n)
  assert.deepEqual(await ids(db), [1n, 2n])
  assert.deepEqual(taken, [])
})

test('a command that only reads the database says in one sentence that the connection was lost', {
  skip: withoutPostgres,
}, async () => {
  await (await openThroughRelay('read')).close()
  const url = `postgres://trellis@127.0.0.1:${relay.port}/read`
  await using db = await openPostgresReadOnly(parsePostgresUrl(url, {}))
  assert.deepEqual(await db.listFaults(), [])
  relay.cut()
  const sentence = /^UsageError: The connection to the database \S+ was lost \(.+\): try again\.$/
  await assert.rejects(db.listFaults(), sentence)
  await assert.rejects(ids(db), sentence)
  await relay.mend()
})

test('a password that is changed while a SuperLink runs is read again for each connection', {
  skip: withoutPostgres,
}, async () => {
  await server.sql("CREATE ROLE flower LOGIN PASSWORD 'first'")
  await server.sql('CREATE DATABASE flower OWNER flower')
  const passfile = directory.file('password')
  writeFileSync(passfile, 'first\n')
  const url = `postgres://flower@127.0.0.1:${server.port}/flower?passfile=${passfile}`
  await using db = await openPostgres(parsePostgresUrl(url, {}))
  await db.transaction(insert(1n))
  assert.deepEqual(await ids(db), [1n])
  await server.sql("ALTER ROLE flower PASSWORD 'second'")
  await server.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'flower' AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`,
  )
  // Until the file has the new password too, reads wait.
  const reading = ids(db)
  writeFileSync(passfile, 'second\n')
  assert.deepEqual(await reading, [1n])
})
