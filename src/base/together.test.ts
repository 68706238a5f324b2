import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Together } from './together.ts'

function setUp(atOnce = 10) {
  const batches: (readonly string[])[] = []
  const together = new Together<string, string>({
    atOnce,
    keysOf: (item) => [item[0]],
    work: async (items) => {
      batches.push(items)
      if (items.some((item) => item.endsWith('bad'))) throw new Error(`bad among ${items.length}`)
      return items.map((item) => item.toUpperCase())
    },
  })
  return { batches, together }
}

test('what is asked for in one turn is done together, up to a limit, and each caller gets its own result', async () => {
  const { batches, together } = setUp(2)
  assert.deepEqual(await Promise.all(['a', 'b', 'c'].map((item) => together.do(item))), ['A', 'B', 'C'])
  assert.deepEqual(batches, [['a', 'b'], ['c']])
})

test('items with a key in common are done one after the other, in their order', async () => {
  const { batches, together } = setUp()
  await Promise.all(['a1', 'b1', 'a2', 'a3', 'b2'].map((item) => together.do(item)))
  assert.deepEqual(batches, [['a1', 'b1'], ['a2', 'b2'], ['a3']])
})

test('a bad item fails by itself', async () => {
  const { batches, together } = setUp()
  const outcomes = await Promise.allSettled(['a', 'b-bad', 'c'].map((item) => together.do(item)))
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.message)),
    ['A', 'bad among 1', 'C'],
  )
  assert.deepEqual(batches, [['a', 'b-bad', 'c'], ['a'], ['b-bad'], ['c']])
  assert.equal(await together.do('d'), 'D')
})
