import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { SuperlinkCore } from '../../test/harness/superlink-core.ts'
import { openDatabase } from '../db/database.ts'
import { migrations } from '../db/migrations.ts'
import { followLog } from './runs/logs.ts'
import { resumeRun } from './runs/resume.ts'
import { findRun } from './runs/run.ts'
import * as runStore from './runs/run-store.ts'

/**
 * Databases that earlier builds wrote, as SQL: a node, a run with a line in its log and a message that waits, and a run that
 * has failed. From version 13 on both have a checkpoint.
 */
const folder = join(import.meta.dirname, 'earlier-databases')
const key = '-----BEGIN PUBLIC KEY-----\nnode\n-----END PUBLIC KEY-----\n'
const firstWithCheckpoints = 13

function schemaOf(path: string): unknown[] {
  const db = new DatabaseSync(path, { readOnly: true })
  const rows = db.prepare('SELECT type, name, sql FROM sqlite_schema ORDER BY type, name').all()
  db.close()
  return rows
}

for (const file of readdirSync(folder)) {
  const version = Number(/\d+/.exec(file))
  test(`runs, nodes and checkpoints of database version ${version} go on after the upgrade`, async () => {
    using home = temporaryDirectory()
    const path = home.file('state.db')
    const old = new DatabaseSync(path)
    old.exec(readFileSync(join(folder, file), 'utf8'))
    old.close()
    const converted: string[] = []
    await openDatabase({ path, onConverting: (what) => converted.push(what) }).close()
    const sentence = `Converting the database ${path} from version ${version} to ${migrations.length}. Older releases cannot open it afterwards.`
    assert.deepEqual(converted, version < migrations.length ? [sentence] : [])
    await openDatabase({ path, onConverting: assert.fail }).close()
    {
      await using core = await SuperlinkCore.start({ folder: home.path })
      const { ctx } = core
      const runs = await runStore.list(ctx.db.read, { owners: 'all' })
      const states = runs.map((run) => [run.status, run.sub_status].join(':'))
      assert.deepEqual(states.toSorted(), ['finished:failed', 'running:'])
      const running = runs.find(({ status }) => status === 'running') as runStore.RunRow
      const failed = runs.find(({ status }) => status === 'finished') as runStore.RunRow

      const runId = running.run_id as Parameters<typeof followLog>[1]
      const { value } = await followLog(ctx, runId, 0, new AbortController().signal).next()
      assert.equal(value?.logOutput, 'A line of an earlier build\n')

      const [known] = await ctx.db.read.selectFrom('node').select('node_id').execute()
      const nodeId = await core.join(key)
      assert.equal(nodeId, known?.node_id)
      assert.equal((await core.claim(nodeId))?.metadata.runId, running.run_id, 'the message that waits for it')

      const run = await findRun(ctx.db.read, failed.run_id as typeof runId)
      assert.ok(run)
      const resume = () => resumeRun(ctx, run, { id: 'me', name: 'me', organization: '' })
      if (version < firstWithCheckpoints) await assert.rejects(resume(), { code: 'run-not-resumable' })
      else assert.notEqual((await resume()).runId, run.runId)
    }
    const fresh = home.file('fresh.db')
    await openDatabase({ path: fresh }).close()
    assert.deepEqual(schemaOf(path), schemaOf(fresh), 'an entry of the migrations that was in use has changed since')
  })
}
