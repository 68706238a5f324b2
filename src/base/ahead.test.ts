import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadAhead } from './ahead.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('items are loaded a bounded number ahead and arrive in their order', async () => {
  const started: number[] = []
  const loads = new Map<number, PromiseWithResolvers<string>>()
  const load = (item: number): Promise<string> => {
    started.push(item)
    const one = Promise.withResolvers<string>()
    loads.set(item, one)
    return one.promise
  }
  const results = loadAhead([1, 2, 3, 4], load, 2)
  const first = results.next()
  await settle()
  assert.deepEqual(started, [1, 2])
  loads.get(2)?.resolve('two')
  loads.get(1)?.resolve('one')
  assert.equal((await first).value, 'one')
  const second = results.next()
  await settle()
  assert.deepEqual(started, [1, 2, 3])
  assert.equal((await second).value, 'two')
  const third = results.next()
  await settle()
  for (const item of [3, 4]) loads.get(item)?.resolve(String(item))
  assert.deepEqual([(await third).value, (await results.next()).value, (await results.next()).done], ['3', '4', true])
})

test('items may come from a stream of their own, which is ended with the loop', async () => {
  let ended = false
  async function* source() {
    try {
      for (let item = 1; ; item++) yield item
    } finally {
      ended = true
    }
  }
  for await (const item of loadAhead(source(), async (item) => item * 2, 3)) if (item === 8) break
  await settle()
  assert.ok(ended)
})

test('a load that fails is thrown in its turn, and ends the loads that have begun', async () => {
  const signals: AbortSignal[] = []
  const results = loadAhead(
    ['good', 'bad', 'slow'],
    async (item, signal) => {
      signals.push(signal)
      if (item === 'bad') throw new Error('broken')
      return item
    },
    3,
  )
  assert.equal((await results.next()).value, 'good')
  await assert.rejects(results.next(), /broken/)
  assert.ok(signals.length === 3 && signals.every((signal) => signal.aborted))
})
