import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import type { DomainError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Call } from '../../rpc/call.ts'
import type { CalledMethod } from '../../rpc/service.ts'
import { JoinGate } from './join-gate.ts'

const methodOf = (name: string): CalledMethod => ({ service: 'flwr.proto.Fleet', name }) as CalledMethod
const activate = methodOf('activateNode')

function gateOf(clock: FakeClock) {
  const { onRequest, onResponse, onError } = new JoinGate(clock).interceptor
  const call = (): Call => ({ signal: new AbortController().signal }) as Call
  return {
    enter(method = activate): Call {
      const entered = call()
      void onRequest?.(entered, method, undefined, undefined)
      return entered
    },
    succeed: (entered: Call) => onResponse?.(entered, activate, { request: {}, response: {}, bytes: 0 }),
    fail: (entered: Call) => onError?.(entered, activate, new Error('x'), 'handler'),
  }
}

test('so many SuperNodes join at the same time, and the next when one of them has joined or failed', () => {
  const { enter, succeed, fail } = gateOf(new FakeClock())
  const joining = Array.from({ length: limits.joinsAtOnceMax }, () => enter())
  assert.throws(() => enter(), { code: 'too-many-calls', retryAfterMs: 1000 })
  enter(methodOf('pullMessages'))
  succeed(joining[0] as Call)
  joining.push(enter())
  assert.throws(() => enter(), { code: 'too-many-calls' })
  fail(joining[1] as Call)
  enter()
  // A call that was turned away leaves no place when it ends.
  fail({ signal: new AbortController().signal } as Call)
  assert.throws(() => enter(), { code: 'too-many-calls' })
})

test('a SuperNode that is turned away is told how long the others before it take, within bounds', () => {
  const clock = new FakeClock()
  const { enter, succeed } = gateOf(clock)
  const joining = Array.from({ length: limits.joinsAtOnceMax }, () => enter())
  const retryAfterMs = (): number => {
    let told = 0
    assert.throws(enter, (error: DomainError) => {
      told = error.retryAfterMs ?? 0
      return true
    })
    return told
  }
  // 20 joined in 2 s, and 100 were turned away: that many take 10 s.
  clock.advance(2000)
  for (const call of joining.slice(0, 20)) succeed(call)
  for (let count = 0; count < 20; count++) enter()
  const told = Array.from({ length: 100 }, retryAfterMs)
  assert.deepEqual([told[0], told[49], told[99]], [1000, 5000, 10_000])
  for (let count = 0; count < 10_000; count++) retryAfterMs()
  assert.equal(retryAfterMs(), 60_000)
  clock.advance(5001)
  assert.equal(retryAfterMs(), 1000)
})
