import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backoffMs } from '../base/retry.ts'
import { cheapPauseMs, pauseMsAfter } from './server-wait.ts'

const random = () => 1
const after = (failure: 'connection-refused' | 'name-unknown' | 'connection-broken', pauses: Generator<number>) =>
  pauseMsAfter({ failure, retryAfterMs: undefined }, pauses, { random })

test('while no program listens, tries follow within a second, however long that lasts', () => {
  const pauses = backoffMs({ random })
  for (let tries = 0; tries < 200; tries++)
    for (const failure of ['connection-refused', 'name-unknown'] as const)
      assert.equal(after(failure, pauses), 2 * cheapPauseMs.few)
  assert.ok(2 * cheapPauseMs.few <= 1000)
})

test('a long outage does not make the pause long after a connection that breaks at its end', () => {
  const pauses = backoffMs({ random })
  for (let tries = 0; tries < 200; tries++) after('connection-refused', pauses)
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => after('connection-broken', pauses)),
    [1000, 2000, 4000, 8000, 16_000, 20_000],
  )
})

test('a busy server says how long its clients wait', () => {
  const pauses = backoffMs({ random })
  assert.equal(pauseMsAfter({ failure: 'busy', retryAfterMs: 4000 }, pauses, { random }), 6000)
})
