import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { errorCodes } from '../../message/message.ts'
import { heartbeat } from '../nodes/nodes.ts'
import { watchDeadlines } from './deadlines.ts'

/** The job looks again when its bell rings; its pauses are those of the test's clock. */
async function watching(core: SuperlinkCore) {
  const stop = new AbortController()
  const job = watchDeadlines(core.ctx, stop.signal)
  const lookAgain = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn++) {
      core.ctx.bells.deadlines.ring('deadlines')
      await settled(10)
      core.clock.advance(300)
      await settled(10)
    }
  }
  return {
    lookAgain,
    async [Symbol.asyncDispose]() {
      stop.abort()
      core.ctx.bells.deadlines.ringAll()
      await job
    },
  }
}

for (const [what, passes, ttl, code, pauses] of [
  ['its node goes silent', 61_000, 3600, errorCodes.nodeUnavailable, false],
  ['its instruction expires', 31_000, 30, errorCodes.messageUnavailable, false],
  ['its node goes silent while the job pauses', 61_000, 3600, errorCodes.nodeUnavailable, true],
  ['its instruction expires while the job pauses', 31_000, 30, errorCodes.messageUnavailable, true],
] as const) {
  test(`a ServerApp that waits for a reply is woken when ${what}`, async () => {
    await using core = await SuperlinkCore.start()
    await using deadlines = await watching(core)
    const nodeId = await core.join('node')
    const { runId } = await core.run()
    const asked = core.instruction(runId, nodeId, { ttl })
    await core.push(runId, [asked])
    const held = core.collect(runId, [asked.messageId], { waitMs: 3_600_000 })
    await deadlines.lookAgain()
    if (pauses) core.ctx.bells.deadlines.ring('deadlines')
    await settled(10)
    core.clock.advance(passes)
    await deadlines.lookAgain()
    assert.equal((await held)[0]?.error?.code, code)
  })
}

test('calls that wait for replies do not look again when SuperNodes join and beat', async () => {
  await using core = await SuperlinkCore.start()
  await using deadlines = await watching(core)
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  await deadlines.lookAgain()
  const stop = new AbortController()
  using subscription = core.ctx.bells.replies.subscribe(runId)
  const { metadata } = core.instruction(runId, nodeId)
  subscription.expect([{ metadata, error: undefined, deliveredAt: undefined, isJoined: false }])
  let isRung = false
  const ring = subscription.wait(3_600_000, stop.signal).then(() => {
    isRung = true
  })
  await core.join('another')
  await heartbeat(core.ctx, nodeId, 30_000)
  await deadlines.lookAgain()
  assert.equal(isRung, false)
  core.clock.advance(61_000)
  await deadlines.lookAgain()
  assert.equal(isRung, true)
  stop.abort()
  await ring
})
