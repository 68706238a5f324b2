import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { sql } from 'kysely'
import pg from 'pg'
import { type Db, openDatabase } from '../../src/db/database.ts'
import { migrations } from '../../src/db/migrations.ts'
import { tryLock } from '../../src/db/postgres/lock.ts'
import { openPostgres, type PostgresNotices } from '../../src/db/postgres/postgres-database.ts'
import { firstTables, firstVersion, postgresMigrations } from '../../src/db/postgres/postgres-migrations.ts'
import { parsePostgresUrl } from '../../src/db/postgres/target.ts'
import { TestCa } from '../harness/certificates.ts'
import { assertKeeps, databasePromises } from '../harness/database-contract.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { PostgresServer, withoutPostgres } from '../harness/postgres.ts'
import { Relay } from '../harness/relay.ts'

const directory = temporaryDirectory()
let server: PostgresServer
let ca: TestCa

before(async () => {
  if (withoutPostgres) return
  ca = await TestCa.create(directory.path)
  const { certfile, keyfile } = await ca.server()
  await ca.issue('flower')
  server = await PostgresServer.start({
    settings: ['ssl = on', "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'", "ssl_ca_file = 'ca.crt'"],
    files: {
      'server.crt': readFileSync(certfile, 'utf8'),
      'server.key': readFileSync(keyfile, 'utf8'),
      'ca.crt': readFileSync(ca.certfile, 'utf8'),
      // The name in the certificate, and the user that it may connect as.
      'pg_ident.conf': 'names flower certified\n',
    },
    admits: [
      'host all trellis 127.0.0.1/32 trust',
      'host all flower 127.0.0.1/32 scram-sha-256',
      'hostssl all certified 127.0.0.1/32 cert map=names',
    ],
  })
  for (const sql of [
    ...["CREATE ROLE flower LOGIN PASSWORD 'secret'", 'CREATE DATABASE flower OWNER flower'],
    ...['CREATE ROLE certified LOGIN', 'CREATE DATABASE certified OWNER certified'],
  ])
    await server.sql(sql)
})
after(async () => {
  await server?.[Symbol.asyncDispose]()
  directory[Symbol.dispose]()
})

const series = (id: bigint) => ({ series_id: id, federation: 'f', context: new Uint8Array([1]), parts: null })
const insert = (id: bigint) => (tx: Db) => tx.insertInto('series').values(series(id)).execute()
const ids = async (db: { read: Db }) =>
  (await db.read.selectFrom('series').select('series_id').orderBy('series_id').execute()).map((row) => row.series_id)

let databases = 0
async function create(): Promise<string> {
  const name = `own_${databases++}`
  await server.sql(`CREATE DATABASE ${name}`)
  return name
}

const open = (url: string, notices: Partial<PostgresNotices> = {}, environment: NodeJS.ProcessEnv = {}) =>
  openPostgres(parsePostgresUrl(url, environment), notices)

test('both engines have the same version, tables and columns, also after the tables of an older release are converted', {
  skip: withoutPostgres,
}, async () => {
  assert.equal(firstVersion + postgresMigrations.length, migrations.length)
  const name = await create()
  await using postgres = await open(server.url(name))
  await using sqlite = openDatabase({ path: ':memory:' })
  const listSqlite = `SELECT m.name || '.' || c.name AS name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1`
  const listPostgres = `SELECT table_name || '.' || column_name AS name FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'trellis_version' ORDER BY 1`
  const namesOf = async (db: Db, sql: string) => {
    const { rows } = await db.executeQuery<{ name: string }>({
      ...db.selectFrom('node').compile(),
      sql,
      parameters: [],
    })
    return rows.map((row) => row.name).toSorted()
  }
  const names = await namesOf(sqlite.read, listSqlite)
  assert.deepEqual(await namesOf(postgres.read, listPostgres), names)
  const old = await create()
  const version = `CREATE TABLE trellis_version (version bigint NOT NULL, writer text); INSERT INTO trellis_version VALUES (${firstVersion})`
  await server.sql(`${version}; ${firstTables}`, old)
  const told: string[] = []
  await using converted = await open(server.url(old), { onConverting: (what) => void told.push(what) })
  assert.deepEqual(await namesOf(converted.read, listPostgres), names)
  assert.match(told.join(), /^Converting the tables of the database postgres:\S+ from version 15 to \d+\.$/)
})

test('values come back as they were: ids beyond 2^63, doubles, bytes, texts', { skip: withoutPostgres }, async () => {
  const name = await create()
  // Settings of a database change how its server writes values.
  for (const setting of ["bytea_output = 'escape'", 'extra_float_digits = 0'])
    await server.sql(`ALTER DATABASE ${name} SET ${setting}`)
  await using db = await open(server.url(name))
  const context = Uint8Array.from({ length: 256 }, (_, byte) => byte)
  const createdAt = 1_764_425_123.123_456_7
  const loggedAt = 1_764_425_123_123_456
  await db.transaction(async (tx) => {
    await tx
      .insertInto('series')
      .values({ series_id: 2n ** 64n - 1n, federation: 'ü\u{1f338}', context, parts: null })
      .execute()
    await tx
      .insertInto('run_log')
      .values({ run_id: 2n ** 63n, logged_at_us: loggedAt, text: 'before\0after' })
      .execute()
    await tx.insertInto('nonce').values({ namespace: 'n', nonce: 'x', expires_at: createdAt }).execute()
  })
  const row = await db.read.selectFrom('series').selectAll().executeTakeFirstOrThrow()
  assert.deepEqual(row, { series_id: 2n ** 64n - 1n, federation: 'ü\u{1f338}', context, parts: null })
  const { id, ...log } = await db.read.selectFrom('run_log').selectAll().executeTakeFirstOrThrow()
  assert.equal(typeof id, 'number')
  // PostgreSQL has no NUL in texts.
  assert.deepEqual(log, { run_id: 2n ** 63n, logged_at_us: loggedAt, text: 'before\u2400after' })
  assert.equal((await db.read.selectFrom('nonce').select('expires_at').executeTakeFirstOrThrow()).expires_at, createdAt)
})

test('a failed transaction leaves nothing, also after a failed statement, and does not disturb those that share its commit', {
  skip: withoutPostgres,
}, async () => {
  await using db = await open(server.url(await create()))
  const effects: bigint[] = []
  const attempt = (id: bigint, fail: (tx: Db) => Promise<unknown>) =>
    db.transaction(async (tx, afterCommit) => {
      afterCommit(() => effects.push(id))
      await insert(id)(tx)
      await fail(tx)
    })
  const nothing = async () => {}
  const refuse = async () => {
    throw new Error('no')
  }
  const results = await Promise.allSettled([
    attempt(1n, (tx) => insert(1n)(tx).catch(nothing)),
    attempt(2n, nothing),
    attempt(3n, refuse),
    attempt(4n, insert(4n)),
    attempt(5n, nothing),
  ])
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled', 'rejected', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(effects, [2n, 5n])
  assert.deepEqual(await ids(db), [2n, 5n])
})

test('readers see what is committed while a transaction is under way', { skip: withoutPostgres }, async () => {
  await using db = await open(server.url(await create()))
  const { promise: written, resolve } = Promise.withResolvers<void>()
  const { promise: seen, resolve: go } = Promise.withResolvers<void>()
  const writing = db.transaction(async (tx) => {
    await insert(1n)(tx)
    resolve()
    await seen
  })
  await written
  assert.deepEqual(await ids(db), [])
  go()
  await writing
  assert.deepEqual(await ids(db), [1n])
})

test('PostgreSQL promises what every engine does', { skip: withoutPostgres }, async (t) => {
  await using db = await open(server.url(await create()))
  for (const promise of databasePromises) await t.test(promise, () => assertKeeps(db, promise))
})

test('what cannot be used is refused in one sentence with a remedy, without the password', {
  skip: withoutPostgres,
}, async () => {
  const at = `127.0.0.1:${server.port}`
  const trusted = `sslmode=verify-full&sslrootcert=${ca.certfile}`
  const refusals: readonly (readonly [string, RegExp])[] = [
    [`postgres://flower@${at}/flower`, /refuses the password of flower: correct it in the passfile or in PGPASSWORD/],
    [`postgres://trellis@${at}/nowhere`, /nowhere does not exist: create it with createdb --owner trellis nowhere/],
    [`postgres://stranger@${at}/flower`, /does not admit this user from here .*: add a line to its pg_hba.conf/],
    [`postgres://trellis@${at}/postgres?sslmode=verify-full`, /not trusted .*: name its CA with \?sslrootcert=FILE/],
    [
      `postgres://certified@localhost:${server.port}/flower?${trusted}`,
      /refuses the user certified .*certificate of sslcert/,
    ],
  ]
  for (const [url, sentence] of refusals) {
    const environment = { PGPASSWORD: 'not this' }
    const refused = open(url, {}, environment)
    assert.deepEqual(environment, {}, 'apps would inherit it')
    await assert.rejects(refused, (error: Error) => {
      assert.match(error.message, sentence)
      assert.doesNotMatch(error.message, /not this|\n/)
      return error.name === 'Error' || error.name === 'UsageError'
    })
  }
  await using _ = await open(`postgres://trellis@localhost:${server.port}/flower?${trusted}`)
})

test('a client certificate opens a database without a password', { skip: withoutPostgres }, async () => {
  const trusted = `sslmode=verify-full&sslrootcert=${ca.certfile}`
  const pair = `sslcert=${directory.file('flower.pem')}&sslkey=${directory.file('flower.key')}`
  await using db = await open(`postgres://certified@localhost:${server.port}/certified?${trusted}&${pair}`)
  await db.transaction(insert(1n))
  assert.deepEqual(await ids(db), [1n])
})

/** Opens the database for a standby; resolves with what it waits for. */
async function standby(name: string, signal?: AbortSignal) {
  const { promise: waitsFor, resolve: onWaiting } = Promise.withResolvers<string>()
  const opening = openPostgres(parsePostgresUrl(server.url(name), {}), { onWaiting }, signal)
  // Otherwise a failure would hide behind a wait that never ends.
  return { opening, waitsFor: await Promise.race([waitsFor, opening.then(() => 'nothing')]) }
}

test('a second SuperLink says what it waits for, and takes over when the first one ends or it is told to end', {
  skip: withoutPostgres,
}, async () => {
  const name = await create()
  const first = await open(server.url(name))
  await first.transaction(insert(1n))
  const { opening, waitsFor } = await standby(name)
  assert.match(
    waitsFor,
    /^The database postgres:\S+ is in use by the SuperLink at 127\.0\.0\.1, connected since 20\S+Z: this one is a standby and takes over when/,
  )
  const stop = new AbortController()
  const third = await standby(name, stop.signal)
  stop.abort()
  await assert.rejects(third.opening)
  await first.close()
  await using second = await opening
  await second.transaction(insert(2n))
  assert.deepEqual(await ids(second), [1n, 2n])
})

test('a new release stands by for an old one, converts the tables when that ends, and then refuses the old one', {
  skip: withoutPostgres,
}, async () => {
  const name = await create()
  const setVersion = (version: number) => server.sql(`UPDATE trellis_version SET version = ${version}`, name)
  const versionNow = async () => Number((await server.sql('SELECT version FROM trellis_version', name))[0]?.version)
  const version = `CREATE TABLE trellis_version (version bigint NOT NULL, writer text); INSERT INTO trellis_version VALUES (${firstVersion})`
  await server.sql(`${version}; ${firstTables}`, name)
  // As the SuperLink of the release that has these tables holds the lock.
  const old = new pg.Client({ connectionString: server.url(name) })
  await old.connect()
  await tryLock(old)
  const { opening, waitsFor } = await standby(name)
  assert.match(waitsFor, /this one is a standby/)
  assert.equal(await versionNow(), firstVersion)
  await old.end()
  await using db = await opening
  await db.transaction(insert(1n))
  assert.equal(await versionNow(), migrations.length)
  // To a program the next release is what this one is to the old one, also while it is active.
  await setVersion(migrations.length + 1)
  await assert.rejects(
    open(server.url(name)),
    /^UsageError: The database \S+ was written by a newer release \(version \d+, this one knows \d+\): upgrade this program or/,
  )
  await setVersion(migrations.length)
})

test('the server gives back the lock of a machine that is gone within seconds', { skip: withoutPostgres }, async () => {
  await using db = await open(server.url(await create()))
  const settings = await db.transaction((tx) =>
    sql<{
      name: string
      setting: string
    }>`SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp\\_%' ORDER BY name`.execute(tx),
  )
  assert.deepEqual(
    settings.rows.map(({ setting }) => setting),
    ['3', '1', '1', '4000'],
  )
})

test('a server that cannot be reached yet is waited for, and until then a sentence says so', {
  skip: withoutPostgres,
}, async () => {
  using relay = await Relay.start(server.port)
  relay.cut()
  const { promise: isLost, resolve: onLost } = Promise.withResolvers<string>()
  const { promise: isBack, resolve: onBack } = Promise.withResolvers<void>()
  const opening = open(`postgres://trellis@127.0.0.1:${relay.port}/${await create()}`, { onLost, onBack })
  assert.match(await isLost, /^The database postgres:\S+ cannot be reached \(.+\): start its server, or correct/)
  await relay.mend()
  await using _ = await opening
  // Until then the SuperLink is not ready.
  await isBack
})

test('a SuperLink that is cut off is taken over at once, and stores and reads nothing any more', {
  skip: withoutPostgres,
}, async () => {
  using relay = await Relay.start(server.port)
  const name = await create()
  const { promise: takenOver, resolve: onTakenOver } = Promise.withResolvers<string>()
  const url = `postgres://trellis@127.0.0.1:${relay.port}/${name}`
  await using first = await open(url, { onTakenOver })
  await first.transaction(insert(1n))
  const { opening } = await standby(name)
  relay.cut()
  await using second = await opening
  await second.transaction(insert(2n))
  await relay.mend()
  assert.match(await takenOver, /was taken over by another SuperLink while this one could not reach it\.$/)
  await assert.rejects(first.transaction(insert(3n)), { code: 'unavailable' })
  await assert.rejects(ids(first), { code: 'unavailable' })
  assert.deepEqual(await ids(second), [1n, 2n])
})

test('a SuperLink that was cut off notices that another one has written meanwhile, though that one has ended', {
  skip: withoutPostgres,
}, async () => {
  using relay = await Relay.start(server.port)
  const name = await create()
  const { promise: takenOver, resolve: onTakenOver } = Promise.withResolvers<string>()
  const url = `postgres://trellis@127.0.0.1:${relay.port}/${name}`
  await using first = await open(url, { onTakenOver })
  relay.cut()
  await (await open(server.url(name))).close()
  // The other one could also be of a newer release.
  await server.sql(`UPDATE trellis_version SET version = ${migrations.length + 1}`, name)
  await relay.mend()
  await takenOver
  await assert.rejects(first.transaction(insert(2n)), { code: 'unavailable' })
})

test('a read that is under way when the connection is lost is done again', { skip: withoutPostgres }, async () => {
  using relay = await Relay.start(server.port)
  const name = await create()
  await using db = await open(`postgres://trellis@127.0.0.1:${relay.port}/${name}`)
  const holder = new pg.Client({ connectionString: server.url(name) })
  await holder.connect()
  try {
    await holder.query('SELECT pg_advisory_lock(5)')
    const query = db.read.selectFrom('node').compile()
    const reading = db.read.executeQuery({ ...query, sql: 'SELECT pg_advisory_lock_shared(5) AS lock', parameters: [] })
    const waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    for (let isWaiting = false; !isWaiting; ) isWaiting = (await holder.query(waits)).rows.length > 0
    relay.cut()
    await relay.mend()
    await holder.query('SELECT pg_advisory_unlock(5)')
    assert.equal((await reading).rows.length, 1)
  } finally {
    await holder.end()
  }
})

test('a lost connection refuses what was under way, and the rest goes on when it is back', {
  skip: withoutPostgres,
}, async () => {
  using relay = await Relay.start(server.port)
  const told: string[] = []
  const url = `postgres://trellis@127.0.0.1:${relay.port}/${await create()}`
  const notices = { onLost: (reason: string) => void told.push(reason), onBack: () => void told.push('back') }
  await using db = await open(url, notices)
  await db.transaction(insert(1n))
  const underWay = db.transaction(async (tx) => {
    await insert(2n)(tx)
    relay.cut()
    await insert(3n)(tx)
  })
  await assert.rejects(underWay, { code: 'unavailable' })
  const waiting = [db.transaction(insert(4n)), ids(db)]
  await relay.mend()
  await waiting[0]
  assert.deepEqual(await ids(db), [1n, 4n])
  await waiting[1]
  assert.deepEqual(
    told.map((text) => text.replace(/ \(.*\)/, '').replace(/\S*postgres:\S*/, 'URL')),
    ['The database URL cannot be reached: start its server, or correct --database.', 'back'],
  )
})
