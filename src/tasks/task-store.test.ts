import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { createQueryId } from 'kysely'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import type { RunId, TaskId } from '../base/ids.ts'
import { type Db, openDatabase } from '../db/database.ts'
import * as taskStore from './task-store.ts'

test('no look at tasks reads all of them', async () => {
  using directory = temporaryDirectory()
  const path = directory.file('state.db')
  await using db = openDatabase({ path })
  const queries: string[] = []
  const watched: Db = db.read.withPlugin({
    transformQuery({ node }) {
      queries.push(db.read.getExecutor().compileQuery(node, createQueryId()).sql)
      return node
    },
    transformResult: async ({ result }) => result,
  })
  await taskStore.findOldestPending(watched, ['flwr-serverapp', 'flwr-clientapp'])
  await taskStore.findOldestPending(watched, ['flwr-serverapp'], 1n as RunId)
  await taskStore.listPendingRuns(watched, 'flwr-serverapp')
  await taskStore.listByRun(watched, 1n as RunId)
  await taskStore.listOpen(watched)
  await taskStore.find(watched, 1n as TaskId)
  await taskStore.findByTokenHash(watched, 'x')
  assert.equal(queries.length, 7)
  const raw = new DatabaseSync(path, { readOnly: true })
  for (const query of queries) {
    const values = [...query.matchAll(/\?/g)].map(() => null)
    const plan = raw.prepare(`EXPLAIN QUERY PLAN ${query}`).all(...values)
    const steps = plan.map(({ detail }) => String(detail))
    // The index of open tasks holds no others, so all of it may be read.
    assert.deepEqual(
      steps.filter((step) => /^SCAN (?!task USING INDEX task_open)/.test(step)),
      [],
      query,
    )
  }
  raw.close()
})
