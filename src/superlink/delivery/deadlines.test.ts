import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { errorCodes } from '../../message/message.ts'
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

for (const [what, passes, ttl, code] of [
  ['its node goes silent', 61_000, 3600, errorCodes.nodeUnavailable],
  ['its instruction expires', 31_000, 30, errorCodes.messageUnavailable],
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
    core.clock.advance(passes)
    await deadlines.lookAgain()
    assert.equal((await held)[0]?.error?.code, code)
  })
}
