import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runCrashes } from '../crash/crashes.ts'
import { drawKills } from '../crash/plan.ts'

// A few here; many with `npm run test:crash -- --kills 200 --seed 7`.
test('what was acknowledged survives kills of every program', async (t) => {
  const { faults } = await runCrashes({
    // So many rounds that two runs last for all kills: to start and check runs costs more than a kill.
    ...{ kills: 20, plan: drawKills(11), python: undefined, loads: ['small', 'endless'], roundsTimes: 3 },
    // A report comes before the limit of the test.
    progressPatienceMs: 4 * 60_000,
    say: (line) => t.diagnostic(line),
  })
  assert.deepEqual(faults, [])
})
