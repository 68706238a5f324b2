import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InMemoryGrid } from 'trellis-fl'
import { app as clientApp } from './client-app.ts'
import { app as serverApp } from './server-app.ts'
import { answersOf, sharesOf } from './survey.ts'

test('the result is that of all people, though one node is lost', async () => {
  const nodes = Array.from({ length: 6 }, () => ({ app: clientApp }))
  const faults = { 'node-4': { drop: 1 } }
  const grid = new InMemoryGrid(nodes, { runConfig: { 'min-nodes': 5 }, faults, clock: 'virtual' })
  const { state } = await grid.run(serverApp)
  // Nodes have the ids 2, 3, and so on.
  const everyone = sharesOf([2n, 3n, 5n, 6n, 7n].flatMap(answersOf))
  const learned = state.arrays('result').getArray('shares').values('float32')
  for (const [option, share] of everyone.entries()) assert.ok(Math.abs(share - (learned[option] ?? 0)) < 1e-4)
})
