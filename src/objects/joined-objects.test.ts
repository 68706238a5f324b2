import assert from 'node:assert/strict'
import { test } from 'node:test'
import { joinedLength, joinObjects, splitObjects } from './joined-objects.ts'

test('objects that were joined are the same when they are split again, empty ones included', () => {
  const objects = ['one', '', 'three'].map((text) => new TextEncoder().encode(text))
  const joined = joinObjects(objects)
  assert.equal(joined.length, joinedLength([3, 0, 5]))
  assert.deepEqual(splitObjects(joined), objects)
  assert.deepEqual(splitObjects(joinObjects([])), [])
})

test('joined objects that were cut off are refused', () => {
  const joined = joinObjects([new Uint8Array(100)])
  for (const length of [1, 3, 50, 103]) assert.throws(() => splitObjects(joined.subarray(0, length)), RangeError)
})
