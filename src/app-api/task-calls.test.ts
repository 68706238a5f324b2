import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { FakeClock, letPass } from '../../test/harness/fake-clock.ts'
import { Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { createChannel, RpcError } from '../rpc/channel.ts'
import { TaskCalls } from './task-calls.ts'

for (const outageSeconds of [3, 600])
  test(`an app calls its SuperLink within a second after an outage of ${outageSeconds} s`, async () => {
    const clock = new FakeClock()
    const isBackAt = clock.now() + outageSeconds * 1000
    const channel = createChannel({ address: '127.0.0.1:1', tls: 'insecure', component: 'test' })
    const triedAt: number[] = []
    mock.method(channel, 'call', async () => {
      triedAt.push(clock.now())
      if (clock.now() >= isBackAt) return { message: {}, waited: true }
      // The connection breaks once, then no program listens.
      const failure = triedAt.length === 1 ? 'connection-broken' : 'connection-refused'
      throw new RpcError('unavailable', failure, { kind: 'unreachable', failure })
    })
    const signal = new AbortController().signal
    const calls = new TaskCalls(
      { channel, token: 'token', log: undefined, signal, clock },
      { tokenHeader: 'token', endedBy: [] },
    )
    let isDone = false
    const call = calls.call(Runtime.method.pullMessages, {}, { waitMs: 25_000 }).finally(() => {
      isDone = true
    })
    await letPass(clock, 'the SuperLink', () => isDone, 1000)
    await call
    const last = triedAt.at(-1) ?? 0
    assert.ok(last - isBackAt <= 1000, `${last - isBackAt} ms`)
    assert.ok(triedAt.length <= 2 * outageSeconds + 3, `${triedAt.length} tries`)
    channel.close()
  })
