import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TokenAttempts } from './token-attempts.ts'

test('an address may enter ten tokens a minute, whatever others do', () => {
  let now = 1_000_000
  const attempts = new TokenAttempts({ now: () => now })
  const take = (host: string, count: number): number =>
    Array.from({ length: count }, () => attempts.take(host)).filter((isTaken) => isTaken).length
  assert.equal(take('10.0.0.1', 30), 10)
  assert.equal(take('10.0.0.2', 3), 3)
  now += 59_999
  assert.equal(take('10.0.0.1', 30), 0)
  now += 1
  assert.equal(take('10.0.0.1', 30), 10)
  // A clock that was set back locks no address out for longer.
  now -= 3_600_000
  assert.equal(take('10.0.0.1', 30), 10)
})
