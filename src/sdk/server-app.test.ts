import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContext } from '../message/context.ts'
import { InMemoryGrid } from './in-memory-grid.ts'
import { ServerApp } from './server-app.ts'

const grid = new InMemoryGrid([])
const context = createContext({ nodeId: 1n })

test('a ServerApp is done when its main function is', async () => {
  const order: string[] = []
  const main = async (): Promise<void> => {
    await Promise.resolve()
    order.push('main')
  }
  for (const app of [new ServerApp().main(main), new ServerApp({ main })]) await app.run(grid, context)
  assert.deepEqual(order, ['main', 'main'])
})

test('what its main function throws, the run fails with', async () => {
  const app = new ServerApp().main(() => {
    throw new Error('no model')
  })
  await assert.rejects(app.run(grid, context), /no model/)
})

test('a ServerApp has exactly one main function', async () => {
  await assert.rejects(new ServerApp().run(grid, context), /no main function/)
  assert.throws(() => new ServerApp({ main() {} }).main(() => {}), /has a main function already/)
})
