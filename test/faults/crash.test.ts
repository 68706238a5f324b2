import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runCrashes } from '../crash/crashes.ts'

// A few here; many with `npm run test:crash -- --kills 200 --seed 7`.
test('what was acknowledged survives kills of every program', async (t) => {
  const { survived, history } = await runCrashes({ kills: 5, seed: 11, say: (line) => t.diagnostic(line) })
  assert.equal(survived, history.length)
})
