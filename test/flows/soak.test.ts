import assert from 'node:assert/strict'
import { test } from 'node:test'
import { soakText } from '../soak/report.ts'
import { soak } from '../soak/soak.ts'

// A short one here, beside other tests; an hour with `npm run soak -- --minutes 60`.
test('a federation whose nodes come and go and whose certificates are renewed uses no more and more', async (t) => {
  const report = await soak({
    ...{ seconds: 45, secondsBetweenRuns: 15, secondsBetweenRenewals: 12, seed: 1 },
    say: (line) => t.diagnostic(line),
  })
  t.diagnostic(soakText(report))
  assert.deepEqual(report.faults, [])
})
