import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InMemoryGrid } from 'trellis-fl'
import { app as clientApp } from './client-app.ts'
import { app as serverApp } from './server-app.ts'

test('three nodes find the line together', async () => {
  const nodes = [1, 2, 3].map(() => ({ app: clientApp }))
  const grid = new InMemoryGrid(nodes, { runConfig: { 'num-server-rounds': 3, 'learning-rate': 0.1 } })
  await grid.run(serverApp)
  const last = grid.progress.at(-1)
  assert.equal(last?.round, 3)
  assert.ok(Number(last?.metrics?.loss) < 0.01, `the loss is ${last?.metrics?.loss}`)
})
