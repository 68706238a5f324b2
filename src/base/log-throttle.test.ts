import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogThrottle } from './log-throttle.ts'

test('of what is said again and again, one line a minute is left, and it tells how many others there were', () => {
  let now = 0
  const throttle = new LogThrottle({ now: () => now })
  assert.deepEqual(throttle.admit('a'), {})
  assert.equal(throttle.admit('a'), undefined)
  assert.equal(throttle.admit('a'), undefined)
  assert.deepEqual(throttle.admit('b'), {}, 'keys do not silence each other')
  now = 60_000
  assert.deepEqual(throttle.admit('a'), { notShown: 2 })
  now = 120_000
  assert.deepEqual(throttle.admit('a'), {})
  now = 0
  assert.deepEqual(throttle.admit('a'), {}, 'a clock that was set back silences nothing')
})

test('a peer that invents keys costs no memory', () => {
  const throttle = new LogThrottle({ now: () => 0 })
  for (let count = 0; count < 5000; count++) throttle.admit(`key ${count}`)
  assert.equal(throttle.admit('key 4999'), undefined)
  assert.deepEqual(throttle.admit('key 0'), {}, 'the oldest was forgotten')
})
