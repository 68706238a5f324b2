import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { TraceSpan } from '../../base/traces.ts'
import { appendEvents } from './events.ts'
import { unobserved } from './progress.ts'
import { traceRuns } from './run-traces.ts'

test('a message is a part of its round, and a round of its run', async () => {
  const spans: TraceSpan[] = []
  const traced = traceRuns({ isOn: true, record: (span) => spans.push(span) })
  await using core = await SuperlinkCore.start({ observer: { ...unobserved, ...traced } })
  const nodeId = await core.join('one')
  const { runId, taskId } = await core.run()
  const report = (phase: string) =>
    appendEvents(core.ctx, { runId, taskId }, [
      { event: 'trellis.progress', data: JSON.stringify({ round: 3, phase }) },
    ])
  const startedAt = core.clock.now()
  await report('configure')
  await report('train')
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  core.clock.advance(2000)
  await core.claim(nodeId)
  core.clock.advance(5000)
  await core.reply(core.replyTo(asked))
  await report('round-end')
  const later = core.instruction(runId, nodeId)
  await core.push(runId, [later])
  await core.claim(nodeId)
  await core.reply(core.replyTo(later, { error: { code: 4, reason: 'broken' } }))
  const [message, round, failed] = spans
  assert.equal(message?.name, 'message train')
  assert.equal(message?.parent, `round 3 of ${runId}`)
  assert.equal(message?.key, `message ${asked.messageId}`)
  assert.equal((message?.endedAt ?? 0) - (message?.startedAt ?? 0), 7000)
  assert.deepEqual(message?.attributes, { 'trellis.node': String(nodeId), 'trellis.waited_ms': 2000 })
  assert.deepEqual(
    [round?.key, round?.parent, round?.startedAt, round?.endedAt],
    [`round 3 of ${runId}`, `run ${runId}`, startedAt, startedAt + 7000],
  )
  assert.match(failed?.fault ?? '', /error/)
  assert.equal(message?.fault, undefined)
})
