import assert from 'node:assert/strict'
import { test } from 'node:test'
import { forEachAtOnce } from './at-once.ts'

test('work runs a bounded number at a time', async () => {
  let running = 0
  let most = 0
  const done: number[] = []
  await forEachAtOnce([1, 2, 3, 4, 5], 2, async (item) => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
    done.push(item)
  })
  assert.deepEqual([most, done], [2, [1, 2, 3, 4, 5]])
})

test('the first failure ends the work in flight, and nothing runs after it was thrown', async () => {
  const ended: string[] = []
  const work = forEachAtOnce(['waits', 'fails', 'never'], 2, async (item, signal) => {
    if (item === 'fails') throw new Error('broken')
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
    ended.push(item)
  })
  await assert.rejects(work, /broken/)
  assert.deepEqual(ended, ['waits'])
})
