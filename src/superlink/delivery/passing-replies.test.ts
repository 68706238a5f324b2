import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { PassingReplies } from './passing-replies.ts'

const content = new Uint8Array(1)

test('replies to unknown ids are bounded for each run and for all runs together; the oldest are dropped', () => {
  const replies = new PassingReplies()
  const runs = Math.ceil(limits.passingRepliesMax / limits.repliesPerPullMax) + 2
  for (let run = 1; run <= runs; run++)
    for (let index = 0; index < limits.repliesPerPullMax + 5; index++)
      replies.keep(BigInt(run) as RunId, `${run} ${index}`, content)
  assert.equal(replies.count, limits.passingRepliesMax)
  const last = BigInt(runs) as RunId
  assert.equal(replies.find(1n as RunId, '1 20'), undefined)
  assert.equal(replies.find(last, `${runs} 4`), undefined)
  assert.equal(replies.find(last, `${runs} 5`), content)

  replies.remove(last, `${runs} 5`)
  replies.remove(last, `${runs} 5`)
  assert.equal(replies.count, limits.passingRepliesMax - 1)
  for (let run = 1; run <= runs; run++) replies.forget(BigInt(run) as RunId)
  assert.equal(replies.count, 0)
})

test('the only reply of a run makes room for its next one', () => {
  const replies = new PassingReplies()
  for (let run = 0; run < limits.passingRepliesMax; run++) replies.keep(BigInt(run) as RunId, 'a', content)
  replies.keep(0n as RunId, 'b', content)
  assert.equal(replies.find(0n as RunId, 'a'), undefined)
  assert.equal(replies.find(0n as RunId, 'b'), content)
  assert.equal(replies.count, limits.passingRepliesMax)
})
