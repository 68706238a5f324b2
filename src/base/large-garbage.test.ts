import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { collectLargeGarbage } from './large-garbage.ts'

setFlagsFromString('--expose-gc')
const gc: () => void = runInNewContext('gc')
const MiB = 1024 * 1024

test('large buffers that nothing uses any more are given back, and those in use stay', async () => {
  const used = new Uint8Array(40 * MiB)
  const unused = new WeakRef(new Uint8Array(40 * MiB))
  // What a WeakRef was made of is kept until the end of the turn.
  await setImmediate()
  collectLargeGarbage(gc)
  assert.equal(unused.deref(), undefined)
  assert.equal(used.length, 40 * MiB)
})

test('a program with small buffers does not collect all garbage', () => {
  gc()
  collectLargeGarbage(() => assert.fail('garbage was collected'))
})
