import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { main } from '../main.ts'
import * as checkpointStore from '../runs/checkpoint-store.ts'
import { backUp, backupCommand } from './backup.ts'
import { checkState } from './check.ts'
import { moveObjectsCommand } from './move-objects.ts'

/** A SuperLink with a run whose instruction of 100 kB waits for its node, and the folder that it stores in. */
async function running(folder: string) {
  mkdirSync(folder)
  const core = await SuperlinkCore.start({ folder })
  const run = await core.run()
  const nodeId = await core.join('node')
  const instruction = core.instruction(run.runId, nodeId, { bytes: 100_000 })
  await core.push(run.runId, [instruction])
  const state = { path: join(folder, 'state.db'), objects: join(folder, 'objects') }
  const [file = assert.fail('no file')] = filesIn(state.objects)
  return { core, run, nodeId, instruction, state, file }
}

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

async function faultsOf(state: Parameters<typeof checkState>[0]): Promise<string[]> {
  const faults: string[] = []
  await checkState(state, (fault) => faults.push(fault))
  return faults
}

test('a SuperLink started from a backup goes on where the backup was made, while the first one had gone on', async () => {
  using home = temporaryDirectory()
  const { core, instruction, state, run } = await running(home.file('state'))
  const copy = await backUp(state, home.file('backup'))
  await core.stop(run.runId)
  await core[Symbol.asyncDispose]()
  assert.deepEqual(await faultsOf(copy), [])
  assert.equal(statSync(copy.path).mode & 0o077, 0)

  renameSync(copy.objects, join(home.path, 'backup', 'objects'))
  await using restored = await SuperlinkCore.start({ folder: home.file('backup') })
  const nodeId = await restored.join('node')
  const claimed = await restored.claim(nodeId)
  assert.equal(claimed?.metadata.messageId, instruction.messageId)
  for (const [id, bytes] of instruction.deflated.objects) {
    const object = await restored.ctx.objects.get(id)
    assert.deepEqual(Buffer.from(object?.content ?? []), Buffer.from(bytes()))
  }
})

test('a backup never replaces anything, and needs a database', async () => {
  using home = temporaryDirectory()
  const { core, state } = await running(home.file('state'))
  await using _ = core
  await assert.rejects(backUp(state, home.file('state')), /is not empty: name a new folder/)
  await assert.rejects(
    backUp({ ...state, path: home.file('no.db') }, home.file('backup')),
    /There is no database .*no\.db/,
  )
  writeFileSync(home.file('foreign.db'), 'not a database at all, but long enough to look like a file')
  await assert.rejects(
    backUp({ ...state, path: home.file('foreign.db') }, home.file('b2')),
    /damaged or not a database/,
  )
})

test('a check names each missing, cut and damaged object with the run that needs it', async () => {
  using home = temporaryDirectory()
  const { core, run, state, file } = await running(home.file('state'))
  await using _ = core
  assert.deepEqual(await faultsOf(state), [])
  const whole = readFileSync(file)
  const needed = `needed by run ${run.runId}\\.$`

  const flipped = Buffer.from(whole)
  flipped[50_000] = (flipped[50_000] as number) ^ 1
  writeFileSync(file, flipped)
  assert.match((await faultsOf(state)).join(), new RegExp(`^The object [0-9a-f]{64} is damaged in ${file}; ${needed}`))
  writeFileSync(file, whole.subarray(0, 1000))
  assert.match((await faultsOf(state)).join(), new RegExp(`has 1000 bytes instead of ${whole.length} in .*; ${needed}`))
  rmSync(file)
  assert.match((await faultsOf(state)).join(), new RegExp(`is missing: there is no file ${file}; ${needed}`))
})

test('a check names what the database itself lacks', async () => {
  using home = temporaryDirectory()
  const { core, state } = await running(home.file('state'))
  await core[Symbol.asyncDispose]()
  const db = new DatabaseSync(state.path)
  const { object_id: id } = db.prepare('SELECT object_id FROM object WHERE content IS NOT NULL').get() as {
    object_id: string
  }
  db.prepare("UPDATE object SET content = CAST(content || 'x' AS BLOB) WHERE object_id = ?").run(id)
  assert.match(
    (await faultsOf(state)).join(),
    new RegExp(`^The object ${id} is damaged in the database; needed by run`),
  )
  db.prepare('DELETE FROM object WHERE object_id = ?').run(id)
  assert.match((await faultsOf(state)).join(), new RegExp(`names the object ${id}, which is unknown`))
  db.close()
})

test('a check names damaged apps and checkpoints', async () => {
  using home = temporaryDirectory()
  const { core, run, state } = await running(home.file('state'))
  await using _ = core
  await using prepared = await checkpointStore.prepare(core.ctx.db, Buffer.alloc(600_000, 7))
  const checkpoint = { runId: run.runId, savedAt: core.clock.now(), launch: 1, prepared }
  await core.ctx.db.transaction((tx) => checkpointStore.insert(tx, checkpoint))
  assert.deepEqual(await faultsOf(state), [])
  await core.ctx.db.transaction(async (tx) => {
    await tx
      .updateTable('part')
      .set({ content: Buffer.alloc(512 * 1024) })
      .where('position', '=', 0)
      .execute()
    await tx
      .updateTable('fab')
      .set({ content: Buffer.from('another app') })
      .execute()
  })
  const [app, saved, ...others] = await faultsOf(state)
  assert.match(app ?? '', /^The app with the hash [0-9a-f]{64} is damaged\.$/)
  assert.equal(saved, `Checkpoint 1 of run ${run.runId} is damaged.`)
  assert.deepEqual(others, [])
  await core.ctx.db.transaction((tx) => tx.deleteFrom('part').where('position', '=', 1).execute())
  assert.deepEqual((await faultsOf(state)).slice(-2), [app, saved])
})

test('backup and move-objects say what to do with a database of PostgreSQL', async () => {
  const database = ['--database', 'postgres://flower@db.example.com/flower']
  const { signal } = new AbortController()
  await assert.rejects(
    async () => backupCommand(['copy', ...database], signal),
    /^UsageError: flower-superlink backup is for SQLite files: of PostgreSQL, copy the database with pg_dump, and after it the folder of --storage-dir or the bucket\.$/,
  )
  await assert.rejects(
    async () => moveObjectsCommand([...database, '--storage', 's3://models'], signal),
    /^UsageError: flower-superlink move-objects is for SQLite files: with PostgreSQL, let the active runs end, then start/,
  )
})

test('a command that gets no response of the object store says why in one sentence', async () => {
  using home = temporaryDirectory()
  const { core, state } = await running(home.file('state'))
  await core[Symbol.asyncDispose]()
  const storage = ['--storage', 's3://models/fleet', '--storage-credentials-file', home.file('none')]
  const sentence =
    /^UsageError: The object store s3:\/\/models\/fleet cannot be used: --storage-credentials-file: \S+ cannot/
  for (const command of [['backup', home.file('copy')], ['move-objects']])
    await assert.rejects(
      async () => main([...command, '--database', state.path, ...storage], new AbortController().signal),
      sentence,
    )
})
