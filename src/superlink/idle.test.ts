import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import type { CallHead } from '../rpc/call.ts'
import type { CalledMethod } from '../rpc/service.ts'
import { IdleWatch } from './idle.ts'

const minute = 60_000

/** Lets everything run that waits for nothing but its turn. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function setUp() {
  const clock = new FakeClock()
  const state = { haveWork: false, idle: false }
  const watch = new IdleWatch({ tasks: { haveWork: async () => state.haveWork }, clock, idleMs: 10 * minute })
  const interceptor = watch.interceptor('Control')
  void watch.wait(new AbortController().signal).then(() => {
    state.idle = true
  })
  const pass = async (minutes: number): Promise<boolean> => {
    for (let second = 0; second < minutes * 60; second++) {
      clock.advance(1000)
      await settle()
    }
    return state.idle
  }
  const call = (service: string): void => interceptor.onHead?.({} as CallHead, { service } as CalledMethod)
  return { state, pass, call }
}

test('a SuperLink is idle when no command has come for the time', async () => {
  const { pass, call } = setUp()
  assert.equal(await pass(9), false)
  call('Control')
  assert.equal(await pass(9), false)
  call('Fleet')
  assert.equal(await pass(2), true)
})

test('a SuperLink with a run under way is not idle, and not at once when the run has ended', async () => {
  const { pass, state } = setUp()
  state.haveWork = true
  assert.equal(await pass(25), false)
  state.haveWork = false
  assert.equal(await pass(4), false)
  assert.equal(await pass(11), true)
})
