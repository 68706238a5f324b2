import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { fleetCalls } from '../../../test/harness/fleet-calls.ts'
import { randomFrom } from '../../../test/harness/random.ts'
import { DomainError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { CallHead } from '../../rpc/call.ts'
import { pauseMsAfter } from '../../rpc/server-wait.ts'
import type { CalledMethod } from '../../rpc/service.ts'
import { JoinGate } from './join-gate.ts'

const methodOf = (name: string): CalledMethod => ({ service: 'flwr.proto.Fleet', name }) as CalledMethod
const activate = methodOf('activateNode')

function gateOf(clock: FakeClock) {
  const { onRequest, onResponse, onError } = new JoinGate(clock).interceptor
  const call = (): CallHead => ({}) as CallHead
  return {
    enter(method = activate): CallHead {
      const entered = call()
      void onRequest?.(entered, method, undefined, undefined)
      return entered
    },
    succeed: (entered: CallHead) =>
      onResponse?.(entered, activate, { request: {}, response: {}, requestBytes: 0, bytes: 0 }),
    fail: (entered: CallHead) => onError?.(entered, activate, new Error('x'), 'handler'),
  }
}

test('so many SuperNodes join at the same time, and the next when one of them has joined or failed', () => {
  const { enter, succeed, fail } = gateOf(new FakeClock())
  const joining = Array.from({ length: limits.joinsAtOnceMax }, () => enter())
  assert.throws(() => enter(), { code: 'too-many-calls', retryAfterMs: 1000 })
  enter(methodOf('pullMessages'))
  succeed(joining[0] as CallHead)
  joining.push(enter())
  assert.throws(() => enter(), { code: 'too-many-calls' })
  fail(joining[1] as CallHead)
  enter()
  // A call that was turned away leaves no place when it ends.
  fail({} as CallHead)
  assert.throws(() => enter(), { code: 'too-many-calls' })
})

test('SuperNodes that are refused leave their places, however many come', async () => {
  let isRefused = true
  const call = fleetCalls([new JoinGate(new FakeClock()).interceptor], {
    handle: () => {
      if (isRefused) throw new DomainError('node-of-another-identity')
    },
  })
  for (let tries = 0; tries < 3 * limits.joinsAtOnceMax; tries++)
    await assert.rejects(call(tries % 2 === 0 ? 'registerNode' : 'activateNode'), { code: 'node-of-another-identity' })
  isRefused = false
  await call('activateNode')
})

test('a SuperNode that is turned away is told how long the others before it take, within bounds', () => {
  const clock = new FakeClock()
  const { enter, succeed } = gateOf(clock)
  const retryAfterMs = (): number => {
    let told = 0
    assert.throws(enter, (error: DomainError) => {
      told = error.retryAfterMs ?? 0
      return true
    })
    return told
  }
  // Each takes 6.4 s while as many join as may: ten in a second.
  for (let round = 0; round < 20; round++) {
    const joining = Array.from({ length: limits.joinsAtOnceMax }, () => enter())
    clock.advance(limits.joinsAtOnceMax * 100)
    for (const call of joining) succeed(call)
  }
  for (let count = 0; count < limits.joinsAtOnceMax; count++) enter()
  const told = Array.from({ length: 1000 }, retryAfterMs)
  // Clients wait up to half as long again, so the hundredth turn, in 10 s, is told as 8 s.
  assert.deepEqual(
    [0, 99, 499, 999].map((index) => Math.round(told[index] ?? 0)),
    [1000, 8000, 40_000, 60_000],
  )
  clock.advance(40_000)
  assert.ok(retryAfterMs() < 60_000)
  clock.advance(-3_600_000)
  assert.equal(retryAfterMs(), 60_000)
  clock.advance(7_200_000)
  assert.equal(retryAfterMs(), 1000)
})

for (const perSecond of [100, 300, 1000]) {
  test(`10,000 SuperNodes that return at once all join, at the pace of a server that takes ${perSecond} a second`, () => {
    const clock = new FakeClock()
    const { enter, succeed } = gateOf(clock)
    const random = randomFrom(perSecond)
    const startedAt = clock.now()
    const due = new Map<number, (() => void)[]>()
    const at = (instant: number, action: () => void): void => {
      const actions = due.get(Math.ceil(instant)) ?? []
      due.set(Math.ceil(instant), actions)
      actions.push(action)
    }
    let joined = 0
    let calls = 0
    let callsMost = 0
    let lastDoneAt = 0
    const join = (earlier: number): void => {
      calls += 1
      callsMost = Math.max(callsMost, earlier + 1)
      try {
        const call = enter()
        lastDoneAt = Math.max(clock.now(), lastDoneAt) + 1000 / perSecond
        at(lastDoneAt, () => {
          joined += 1
          void succeed(call)
        })
      } catch (error) {
        // The wire tells whole seconds.
        const retryAfterMs = Math.ceil(((error as DomainError).retryAfterMs ?? 0) / 1000) * 1000
        const pauseMs = pauseMsAfter({ failure: 'busy', retryAfterMs }, noPauses, { random: () => random(1e6) / 1e6 })
        at(clock.now() + pauseMs, () => join(earlier + 1))
      }
    }
    for (let node = 0; node < 10_000; node++) at(startedAt + random(1000), () => join(0))
    for (let ms = 0; ms < 300_000 && joined < 10_000; ms++) {
      for (const action of due.get(clock.now()) ?? []) action()
      clock.advance(1)
    }
    const seconds = (clock.now() - startedAt) / 1000
    assert.equal(joined, 10_000)
    assert.ok(seconds < (10_000 / perSecond) * 1.3, `${seconds} s`)
    assert.ok(calls < 30_000 && callsMost <= 6, `${calls} calls, ${callsMost} of one SuperNode`)
  })
}

const noPauses: Iterator<number> = [][Symbol.iterator]()
