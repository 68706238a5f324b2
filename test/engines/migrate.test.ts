import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { parseOptions } from '../../src/base/options.ts'
import { copyTable, fingerprint, tables } from '../../src/db/copy-rows.ts'
import { openDatabase } from '../../src/db/database.ts'
import { openPostgres } from '../../src/db/postgres/postgres-database.ts'
import { parsePostgresUrl } from '../../src/db/postgres/target.ts'
import { checkState } from '../../src/superlink/maintenance/check.ts'
import { examine } from '../../src/superlink/maintenance/doctor.ts'
import { migrate } from '../../src/superlink/maintenance/migrate.ts'
import { claimObjectFolder } from '../../src/superlink/object-place.ts'
import { rows } from '../../src/superlink/options.ts'
import { appendLog } from '../../src/superlink/runs/logs.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { PostgresServer, withoutPostgres } from '../harness/postgres.ts'
import { SuperlinkCore } from '../harness/superlink-core.ts'

let server: PostgresServer
const home = temporaryDirectory()
before(async () => {
  if (!withoutPostgres) server = await PostgresServer.start()
})
after(async () => {
  await server?.[Symbol.asyncDispose]()
  home[Symbol.dispose]()
})

async function create(name: string): Promise<string> {
  await server.sql(`CREATE DATABASE ${name}`)
  return server.url(name)
}

/** A SuperLink that has stopped with an instruction under way, a log of many lines, and a text with a NUL. */
async function stopped(folder: string) {
  mkdirSync(folder)
  await using core = await SuperlinkCore.start({ folder })
  const { runId } = await core.run()
  const nodeId = await core.join('node')
  const instruction = core.instruction(runId, nodeId, { bytes: 100_000 })
  await core.push(runId, [instruction])
  for (let line = 0; line < 100; line++) await appendLog(core.ctx, runId, [`line ${line}\0\n`])
  return { path: `${folder}/state.db`, instruction, runId }
}

test('the state goes to PostgreSQL and back, and a SuperLink continues with it at either place', {
  skip: withoutPostgres,
}, async () => {
  const { path, instruction, runId } = await stopped(home.file('first'))
  const url = await create('whole')
  const rows = await migrate(path, url)
  assert.ok(rows > 100, `${rows} rows`)
  {
    // What PostgreSQL numbers by itself goes on after the last row.
    await using db = await openPostgres(parsePostgresUrl(url, {}))
    const line = { run_id: runId, logged_at_us: 1, text: 'one more' }
    await db.transaction((tx) => tx.insertInto('run_log').values(line).execute())
    const last = await db.read.selectFrom('run_log').selectAll().orderBy('id', 'desc').limit(1).executeTakeFirst()
    assert.equal(last?.text, 'one more')
  }
  mkdirSync(home.file('second'))
  assert.equal(await migrate(url, home.file('second/state.db')), rows + 1)
  renameSync(home.file('first/objects'), home.file('second/objects'))
  await using core = await SuperlinkCore.start({ folder: home.file('second') })
  const claimed = await core.claim(await core.join('node'))
  assert.equal(claimed?.metadata.messageId, instruction.messageId)
  for (const [id, bytes] of instruction.deflated.objects)
    assert.deepEqual(new Uint8Array((await core.ctx.objects.get(id))?.content ?? []), new Uint8Array(bytes()))
})

test('a copy in PostgreSQL is checked and described while it is in use, and the old database may not use its objects', {
  skip: withoutPostgres,
}, async () => {
  const { path, runId } = await stopped(home.file('checked'))
  const url = await create('checked')
  const objects = home.file('checked/objects')
  await migrate(path, url)
  const postgres = parsePostgresUrl(url, {})
  const faultsOf = async () => {
    const faults: string[] = []
    await checkState({ path: postgres.label, postgres, objects }, (fault) => faults.push(fault))
    return faults
  }
  {
    await using db = await openPostgres(postgres)
    await claimObjectFolder(objects, db, true)
    assert.deepEqual(await faultsOf(), [])
    const [file = ''] = readdirSync(objects, { recursive: true, encoding: 'utf8' }).filter((name) => name.length > 60)
    writeFileSync(`${objects}/${file}`, 'damaged')
    await db.transaction((tx) =>
      tx
        .updateTable('fab')
        .set({ content: new Uint8Array([1]) })
        .execute(),
    )
    assert.match(
      (await faultsOf()).join('\n'),
      new RegExp(`The app with .* is damaged\\.[^]*needed by run ${runId}\\.`),
    )
    const argv = ['--insecure', '--database', url, '--storage-dir', objects]
    const values = parseOptions('flower-superlink doctor', '', rows, argv) ?? assert.fail()
    const report = (await Array.fromAsync(examine(values, argv))).join('\n')
    assert.match(report, /^Database: .* a server of PostgreSQL \d+/m)
    assert.match(report, /^SuperNodes: 1 online$/m)
  }
  await using old = openDatabase({ path })
  await assert.rejects(claimObjectFolder(objects, old, false), /has the objects of another database/)
})

test('tables are read a few rows at a time, and a single changed value is noticed', async () => {
  await using from = openDatabase({ path: ':memory:' })
  await using to = openDatabase({ path: ':memory:' })
  const parts = Array.from({ length: 100 }, (_, at) => ({
    name: `${at % 3}`,
    position: at,
    content: new Uint8Array([at]),
  }))
  await from.transaction((tx) => tx.insertInto('part').values(parts).execute())
  const copied = await copyTable('part', from.read, to)
  assert.equal(copied.rows, 100)
  assert.deepEqual(await fingerprint('part', to.read), copied)
  await to.transaction((tx) =>
    tx
      .updateTable('part')
      .set({ content: new Uint8Array([7]) })
      .where('position', '=', 50)
      .execute(),
  )
  assert.notDeepEqual(await fingerprint('part', to.read), copied)
  assert.ok(tables.includes('part'))
})

test('a database that is in use, that is not there, or that is not empty is refused', {
  skip: withoutPostgres,
}, async () => {
  const { path } = await stopped(home.file('third'))
  const url = await create('used')
  {
    await using _ = openDatabase({ path })
    await assert.rejects(migrate(path, url), /is in use by another SuperLink: stop that one/)
  }
  {
    await using _ = await openPostgres(parsePostgresUrl(url, {}))
    await assert.rejects(migrate(path, url), /The database of --to is in use by a SuperLink: stop it first/)
  }
  await migrate(path, url)
  await assert.rejects(migrate(path, url), /The database of --to is not empty \(table \w+\): name an empty one/)
  await assert.rejects(migrate(path, home.file('copy.db')), /of the same kind: name one SQLite file and one postgres/)
  await assert.rejects(migrate(home.file('none.db'), url), /There is no database .*none\.db: name that of/)
})
