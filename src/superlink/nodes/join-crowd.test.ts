import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { randomFrom } from '../../../test/harness/random.ts'
import { DomainError } from '../../base/errors.ts'
import type { CallHead } from '../../rpc/call.ts'
import { pauseMsAfter } from '../../rpc/server-wait.ts'
import type { CalledMethod } from '../../rpc/service.ts'
import { JoinGate } from './join-gate.ts'

const activate = { service: 'flwr.proto.Fleet', name: 'activateNode' } as CalledMethod

/** Of the simulated SuperLink: how many handshakes it makes, and how many SuperNodes it brings online, each second. */
const handshakesPerSecond = 600
const joinsPerSecond = 300

test('ten thousand SuperNodes that return at once are online about as soon as the SuperLink can do it', () => {
  const nodes = 10_000
  const clock = new FakeClock(0)
  const random = randomFrom(1)
  const { onRequest, onResponse } = new JoinGate(clock).interceptor
  const agenda = new Agenda()
  const refusals: number[] = []
  let freeAt = 0
  let online = 0
  const join = (node: number): void => {
    const call = {} as CallHead
    try {
      void onRequest?.(call, activate, undefined, undefined)
    } catch (error) {
      if (!(error instanceof DomainError)) throw error
      refusals[node] = (refusals[node] ?? 0) + 1
      const refusal = { failure: 'busy', retryAfterMs: error.retryAfterMs } as const
      const pauseMs = pauseMsAfter(refusal, [][Symbol.iterator](), { random: () => random(1000) / 1000 })
      agenda.add(clock.now() + pauseMs, () => join(node))
      return
    }
    freeAt = Math.max(freeAt, clock.now()) + 1000 / joinsPerSecond
    agenda.add(freeAt, () => {
      void onResponse?.(call, activate, { request: {}, response: {}, requestBytes: 0, bytes: 0 })
      online += 1
    })
  }
  for (let node = 0; node < nodes; node++) agenda.add((node * 1000) / handshakesPerSecond, () => join(node))
  agenda.work(clock)
  const least = (nodes * 1000) / joinsPerSecond
  assert.equal(online, nodes)
  assert.ok(clock.now() < least * 1.2, `${clock.now()} ms instead of ${least}`)
  assert.ok(refusals.reduce((sum, count) => sum + count, 0) < 2 * nodes, 'a SuperNode is turned away twice on average')
  assert.ok(Math.max(...refusals.filter((count) => count > 0)) < 15)
})

/** What is to be done, in the order of time. */
class Agenda {
  readonly #items = new Map<number, (() => void)[]>()

  add(at: number, work: () => void): void {
    const ms = Math.ceil(at)
    const others = this.#items.get(ms)
    if (others) others.push(work)
    else this.#items.set(ms, [work])
  }

  work(clock: FakeClock): void {
    for (let ms = clock.now(); this.#items.size > 0; ms++) {
      const due = this.#items.get(ms)
      if (!due) continue
      clock.advance(ms - clock.now())
      for (const work of due) work()
      this.#items.delete(ms)
    }
  }
}
