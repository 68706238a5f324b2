import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { PostgresServer, withoutPostgres } from '../harness/postgres.ts'
import { databasesOpened, openOnPostgres, statementsUnderWay, usePostgres } from '../harness/postgres-core.ts'
import { useEngine } from '../harness/test-database.ts'

/**
 * Tests of stores and of the rules above them, which run with SQLite where they are, on PostgreSQL. Each test has a database of
 * its own.
 */
const files = [
  'app-api/checkpoint-pieces',
  'db/large-values',
  'objects/object-store',
  'tasks/tasks',
  'superlink/nodes/nodes',
  'superlink/delivery/instructions',
  'superlink/delivery/life',
  'superlink/delivery/deadlines',
  'superlink/runs/finish',
  'superlink/runs/logs',
  'superlink/runs/retention',
  'superlink/api/checkpoints',
  'superlink/api/events',
  'superlink/quotas/quotas',
  // Last, because it slows down queries of its process.
  'superlink/query-plans',
]

if (!withoutPostgres) {
  const server = await PostgresServer.start()
  after(() => server[Symbol.asyncDispose]())
  await usePostgres(server.url())
  useEngine({ openOnPostgres, statementsUnderWay })
}

let before = 0
for (const file of files) {
  if (!withoutPostgres) await import(`../../src/${file}.test.ts`)
  // Tests run in the order in which they are declared.
  test(`the tests of ${file} ran on PostgreSQL`, { skip: withoutPostgres }, () => {
    assert.ok(databasesOpened() > before)
    before = databasesOpened()
    assert.equal(statementsUnderWay(), 0)
  })
}
