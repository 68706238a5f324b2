import assert from 'node:assert/strict'
import { test } from 'node:test'
import { observeQueries } from '../../../test/harness/query-plans.ts'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { listCompletedBy } from './missing-objects.ts'
import * as nodeMessages from './node-messages.ts'
import { listOfferedRepliesTo } from './offered-replies.ts'
import { isParticipant } from './participant-store.ts'
import * as runMessages from './run-messages.ts'

test('no query of messages reads the whole table, and those of the hot paths use the index made for them', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const { read } = core.ctx.db
  const { start, plans } = observeQueries(core.ctx.db)
  const expected: readonly (readonly [RegExp, (db: typeof read) => Promise<unknown>])[] = [
    [/USING INDEX message_waiting \(dst_node_id=\?\)$/, (db) => nodeMessages.listWaiting(db, [nodeId], 0)],
    [/INDEX message_announced \(src_node_id=\?\)$/, (db) => nodeMessages.listAnnouncedBy(db, nodeId)],
    [/INDEX message_receiver \(dst_node_id=\?\)$/, (db) => nodeMessages.listHeld(db, nodeId)],
    [/INDEX message_reply \(reply_to=\?\)/, (db) => listOfferedRepliesTo(db, runId, ['a', 'b'])],
    [/INDEX message_expiry \(<expr>>\?\)$/, (db) => nodeMessages.nextExpiry(db, 0)],
    [/INDEX message_object_by_object \(object_id=\?\)/, (db) => listCompletedBy(db, ['a', 'b'])],
    [/INDEX message_sender \(src_node_id=\? AND run_id=\?\)/, (db) => nodeMessages.listUnprompted(db, nodeId, runId)],
    [
      /INDEX message_receiver \(dst_node_id=\? AND run_id=\?\)/,
      (db) => runMessages.listOfferedUnprompted(db, runId, 9),
    ],
    [/INDEX message_run \(run_id=\?\)/, (db) => runMessages.findWholeOfRun(db, runId, [nodeId], 0)],
    [/PRIMARY KEY \(run_id=\? AND node_id=\?\)$/, (db) => isParticipant(db, nodeId, runId)],
  ]
  for (const [index, query] of expected) {
    start()
    await query(core.ctx.db.read)
    for (const { sql, plan } of await plans()) {
      assert.match(plan, index, sql)
      assert.doesNotMatch(plan, /\bSCAN\b/, sql)
    }
  }
})
