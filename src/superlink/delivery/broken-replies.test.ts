import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '../../base/limits.ts'
import { StalledReplies } from './broken-replies.ts'

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
