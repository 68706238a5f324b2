import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { fleetCalls } from '../../../test/harness/fleet-calls.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import { Uploads } from './uploads.ts'

test('ends of uploads are forgotten, however many SuperNodes upload once and never again', () => {
  const clock = new FakeClock()
  const uploads = new Uploads(() => clock.now())
  const { onCaller, onResponse } = uploads.interceptor
  const method = { service: Fleet.typeName, name: Fleet.method.pushObject.localName } as never
  const upload = (publicKey: string): void => {
    const head = {} as never
    onCaller?.(head, method, { credential: { kind: 'key', publicKey } } as never)
    onResponse?.(head, method, undefined as never)
  }
  for (let key = 0; key < 1000; key++) {
    upload(`${key}`)
    clock.advance(limits.replyQuietMs / 100)
  }
  assert.ok(uploads.size <= 101, `${uploads.size} are remembered`)
  const node = { authMethod: 'key', identity: undefined } as const
  assert.ok(uploads.lastAt({ ...node, publicKey: '999' }) > 0)
  assert.equal(uploads.lastAt({ ...node, publicKey: '0' }), 0)
})

test('a SuperNode uploads until its call has ended, whether the object was taken or not', async () => {
  const clock = new FakeClock()
  const uploads = new Uploads(() => clock.now())
  const node = { authMethod: 'key', identity: undefined, publicKey: 'a' } as const
  let isTaken = Promise.withResolvers<void>()
  const call = fleetCalls([uploads.interceptor], {
    caller: { credential: { kind: 'key', publicKey: 'a' } },
    handle: () => isTaken.promise,
  })
  for (const end of [() => isTaken.resolve(), () => isTaken.reject(new Error('refused'))]) {
    isTaken = Promise.withResolvers()
    const upload = call('pushObject').catch(() => {})
    await setImmediate()
    clock.advance(1000)
    assert.equal(uploads.lastAt(node), clock.now())
    end()
    await upload
    const endedAt = clock.now()
    clock.advance(1000)
    assert.equal(uploads.lastAt(node), endedAt)
  }
})
