import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InMemoryGrid } from 'trellis-fl'
import { app as clientApp } from './client-app.ts'
import { app as serverApp } from './server-app.ts'

test('two nodes learn the circle together', async () => {
  const runConfig = { 'num-server-rounds': 4, 'local-epochs': 5, 'learning-rate': 0.05 }
  const grid = new InMemoryGrid([{ app: clientApp }, { app: clientApp }], { runConfig })
  await grid.run(serverApp)
  const accuracy = Number(grid.progress.at(-1)?.metrics?.accuracy)
  assert.ok(accuracy > 0.8, `the accuracy is ${accuracy}`)
})
