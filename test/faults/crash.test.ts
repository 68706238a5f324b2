import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runCrashes } from '../crash/crashes.ts'
import { drawKills } from '../crash/plan.ts'

const minute = 60_000
/** A kill takes about ten seconds. On a machine so busy that it takes a minute, there are fewer. */
const kills = { most: 20, least: 8 }

// A few here; many with `npm run test:crash -- --kills 200 --seed 7`. What follows the last kill has most of the limit.
test('what was acknowledged survives kills of every program', { timeout: 25 * minute }, async (t) => {
  const { faults, history } = await runCrashes({
    // So many rounds that two runs last for all kills: to start and check runs costs more than a kill.
    ...{ kills: kills.most, plan: drawKills(11), python: undefined, loads: ['small', 'endless'], roundsTimes: 3 },
    ...{ endsAt: performance.now() + 8 * minute, progressPatienceMs: 4 * minute },
    say: (line) => t.diagnostic(line),
  })
  assert.deepEqual(faults, [])
  assert.ok(history.length >= kills.least, `${history.length} kills`)
})
