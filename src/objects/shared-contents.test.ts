import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '../base/limits.ts'
import { SharedContents } from './shared-contents.ts'

test('contents are kept within a bound in bytes, those that are asked for the longest', () => {
  const shared = new SharedContents()
  const bytes = limits.sharedContentsBytesMax / 8
  for (let index = 0; index < 8; index++) shared.keep(`${index}`, new Uint8Array(bytes), 0)
  assert.equal(shared.find('0')?.length, bytes)
  shared.keep('8', new Uint8Array(bytes), 0)
  shared.keep('large', new Uint8Array(bytes + 1), 0)
  const kept = ['0', '1', '2', '8', 'large'].map((id) => shared.find(id) !== undefined)
  assert.deepEqual(kept, [true, false, true, true, false])
})

test('a content is not kept if objects were deleted since its row was read', () => {
  const shared = new SharedContents()
  const before = shared.deletions
  shared.forget(['a'])
  shared.keep('a', new Uint8Array(1), before)
  assert.equal(shared.find('a'), undefined)
  shared.keep('a', new Uint8Array(1), shared.deletions)
  assert.equal(shared.find('a')?.length, 1)
  shared.forget(['a'])
  assert.equal(shared.find('a'), undefined)
})

test('contents are forgotten after a while', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const shared = new SharedContents()
  shared.keep('a', new Uint8Array(1), 0)
  t.mock.timers.tick(limits.sharedContentsMs)
  assert.equal(shared.find('a'), undefined)
  shared.keep('b', new Uint8Array(1), 0)
  t.mock.timers.tick(limits.sharedContentsMs)
  assert.equal(shared.find('b'), undefined)
})
