import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { letPass } from '../../../test/harness/fake-clock.ts'
import { SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { limits } from '../../base/limits.ts'
import { heartbeat } from '../nodes/nodes.ts'
import { StalledReplies, watchStalledReplies } from './broken-replies.ts'

test('a reply is given up when no object of it has come for the whole time, and not while they come', () => {
  const stalls = new StalledReplies()
  const at = (minutes: number, missing: Record<string, number>) =>
    stalls.look(new Map(Object.entries(missing)), minutes * 60_000)
  assert.deepEqual(at(0, { slow: 9, silent: 3 }), [])
  assert.deepEqual(at(14, { slow: 8, silent: 3 }), [])
  assert.deepEqual(at(15, { slow: 8, silent: 3, late: 1 }), ['silent'])
  assert.deepEqual(at(28, { slow: 7, late: 1 }), [])
  assert.deepEqual(at(31, { slow: 7, late: 1 }), ['late'])
  assert.deepEqual(at(60, {}), [])
  assert.equal(limits.replySilenceMs, 15 * 60_000)
})

test('a reply whose objects never come from a node that lives becomes an error, and nothing polls without one', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const sleep = mock.method(clock, 'sleep')
  const stop = new AbortController()
  const watch = watchStalledReplies(ctx, stop.signal)
  try {
    const asked = core.instruction(runId, nodeId, { ttl: 7200 })
    await core.push(runId, [asked])
    await core.claim(nodeId)
    await settled()
    assert.equal(sleep.mock.callCount(), 0)
    await core.reply(core.replyTo(asked), { upload: false })
    const announcedAt = clock.now()
    await letPass(clock, 'the end of the wait', () => core.lines.some((line) => /replaced by an error/.test(line)))
    assert.ok(clock.now() - announcedAt <= 1.1 * limits.replySilenceMs)
    await heartbeat(ctx, nodeId, 30_000)
    const [reply] = await core.collect(runId, [asked.messageId], { waitMs: 10_000 })
    assert.match(reply?.error?.reason ?? '', /was announced, and its objects stopped coming/)
    await letPass(clock, 'the last look', () => sleep.mock.callCount() > 0)
    const looks = sleep.mock.callCount()
    clock.advance(limits.replySilenceMs)
    await settled()
    clock.advance(limits.replySilenceMs)
    await settled()
    assert.ok(sleep.mock.callCount() <= looks + 1, 'it has stopped looking')
  } finally {
    stop.abort()
    await watch
  }
})
