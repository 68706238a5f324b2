import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InMemoryGrid } from 'trellis-fl'
import { app as clientApp } from './client-app.ts'
import { app as serverApp } from './server-app.ts'

test('the line is found although one node needs a day for each update', async () => {
  const nodes = Array.from({ length: 5 }, () => ({ app: clientApp }))
  const runConfig = { 'num-updates': 20, 'buffer-size': 2, concurrency: 4, 'learning-rate': 0.2 }
  // No time is waited: the clock jumps to the next reply.
  const grid = new InMemoryGrid(nodes, { runConfig, clock: 'virtual', faults: { 'node-3': { delay: '24h' } } })
  await grid.run(serverApp)
  const loss = Number(grid.progress.findLast(({ phase }) => phase === 'train')?.metrics?.['train-loss'])
  assert.ok(loss < 0.01, `the loss is ${loss}`)
})
