import assert from 'node:assert/strict'
import { test } from 'node:test'
import { soakText } from '../soak/report.ts'
import { soak } from '../soak/soak.ts'

const minute = 60_000

// Mostly pauses, beside other tests; an hour with more work in it: `npm run soak -- --minutes 60`.
test('a federation whose nodes come and go and whose certificates are renewed uses no more and more in five minutes', {
  timeout: 20 * minute,
}, async (t) => {
  const report = await soak({
    ...{ seconds: 5 * 60, secondsBetweenRounds: 3, secondsBetweenRuns: 90, secondsBetweenRenewals: 40 },
    ...{ guestSecondsMax: 80, awaySecondsMax: 40, seed: 1 },
    say: (line) => t.diagnostic(line),
  })
  t.diagnostic(soakText(report))
  assert.deepEqual(report.faults, [])
})
