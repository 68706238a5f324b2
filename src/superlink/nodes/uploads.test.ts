import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import { Uploads } from './uploads.ts'

test('ends of uploads are forgotten, however many SuperNodes upload once and never again', () => {
  const clock = new FakeClock()
  const uploads = new Uploads(clock)
  const { onCaller, onResponse } = uploads.interceptor
  const method = { service: Fleet.typeName, name: Fleet.method.pushObject.localName } as never
  const upload = (publicKey: string): void => {
    const head = { signal: new AbortController().signal } as never
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
