import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { DomainError } from '../../base/errors.ts'
import * as runStore from './run-store.ts'

test('counts that could not be written are written with the next ones', async () => {
  await using core = await SuperlinkCore.start()
  const { traffic, db } = core.ctx
  const { runId } = await core.run()
  for (const code of ['unavailable', 'storage-full'] as const) {
    traffic.add(runId, { sent: 10, clientappSeconds: 2 })
    mock.method(db, 'transaction', () => Promise.reject(new DomainError(code)), { times: 1 })
    await traffic.flush()
  }
  traffic.add(runId, { sent: 5, received: 7 })
  await traffic.flush()
  const run = await runStore.find(db.read, runId)
  assert.deepEqual([run?.bytes_sent, run?.bytes_recv, run?.clientapp_runtime], [25, 7, 4])
})
