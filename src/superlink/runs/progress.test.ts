import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { errorCodes } from '../../message/message.ts'
import { RunProgress } from './progress.ts'

const runId = 1n as RunId

const answered = {
  nodeId: 1n as NodeId,
  messageId: 'asked',
  messageType: 'train',
  askedAt: 0,
  fetchedAt: 0,
  repliedAt: 1,
}

test('messages that are pushed when all earlier ones are answered begin to count anew', () => {
  const progress = new RunProgress()
  progress.asked(runId, 2)
  progress.asked(runId, 1)
  progress.nodeReplied(runId, undefined, answered)
  progress.nodeReplied(runId, { code: errorCodes.clientAppRaisedException, reason: 'It broke.' }, answered)
  assert.deepEqual(progress.of(runId), { asked: 3, replied: 2, failed: 1 })
  progress.nodeReplied(runId, undefined, answered)
  progress.asked(runId, 5)
  assert.deepEqual(progress.of(runId), { asked: 5, replied: 0, failed: 0 })
  progress.nodeReplied(runId, undefined, answered)
  progress.withdrawn(runId, undefined, answered)
  assert.deepEqual(progress.of(runId), { asked: 5, replied: 0, failed: 0 })
  progress.forget(runId)
  progress.withdrawn(runId, undefined, answered)
  assert.deepEqual(progress.of(runId), { asked: 0, replied: 0, failed: 0 })
})

test('the errors that came before a ServerApp was lost count at the end of its run', () => {
  const progress = new RunProgress()
  progress.outcomes.started(runId)
  progress.asked(runId, 1)
  progress.nodeReplied(runId, { code: errorCodes.clientAppRaisedException, reason: 'no data' }, answered)
  progress.restarted(runId)
  assert.deepEqual(progress.of(runId), { asked: 0, replied: 0, failed: 0 })
  assert.equal(progress.outcomes.findFruitless(runId), 'The only reply to train messages was an error: no data')
  progress.finished(runId, 'completed')
  assert.equal(progress.outcomes.findFruitless(runId), undefined)
})

test('traffic is written in batches, added up, and kept for a run that is not there', async () => {
  await using core = await SuperlinkCore.start({ clock: new FakeClock() })
  const run = await core.run()
  const { traffic, db } = core.ctx
  traffic.add(run.runId, { sent: 10, received: 1 })
  traffic.add(run.runId, { sent: 5, clientappSeconds: 0.5 })
  traffic.add(99n as RunId, { sent: 1 })
  const read = () => db.read.selectFrom('run').select(['bytes_sent', 'bytes_recv', 'clientapp_runtime']).execute()
  assert.equal((await read())[0]?.bytes_sent, 0)
  await traffic.flush()
  await traffic.flush()
  assert.deepEqual({ ...(await read())[0] }, { bytes_sent: 15, bytes_recv: 1, clientapp_runtime: 0.5 })
})
