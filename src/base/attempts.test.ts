import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Attempts } from './attempts.ts'

test('a key has ten attempts a minute, whatever others do', () => {
  let now = 1_000_000
  const attempts = new Attempts<string>({ max: 10, perMs: 60_000 })
  const take = (host: string, count: number): number =>
    Array.from({ length: count }, () => attempts.take(host, now)).filter((isTaken) => isTaken).length
  assert.equal(take('10.0.0.1', 30), 10)
  assert.equal(take('10.0.0.2', 3), 3)
  now += 59_999
  assert.equal(take('10.0.0.1', 30), 0)
  now += 1
  assert.equal(take('10.0.0.1', 30), 10)
  // A clock that was set back keeps out no key for longer.
  now -= 3_600_000
  assert.equal(take('10.0.0.1', 30), 10)
})
