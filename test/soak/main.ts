import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { soakText } from './report.ts'
import { soak } from './soak.ts'

/**
 * `npm run soak -- --minutes 60 --report soak.json`: a SuperLink with SuperNodes that come and go, certificates that are
 * renewed every minute, a run that trains all along, and another every few seconds.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    every: { type: 'string', default: '6' },
    seed: { type: 'string', default: '1' },
    report: { type: 'string' },
  },
})
const report = await soak({
  seconds: Number(values.minutes) * 60,
  secondsBetweenRuns: Number(values.every),
  secondsBetweenRounds: 2,
  secondsBetweenRenewals: 60,
  ...{ guestSecondsMax: 30, awaySecondsMax: 10 },
  seed: Number(values.seed),
  say: (line) => console.log(line),
})
if (values.report !== undefined) writeFileSync(values.report, `${JSON.stringify(report, undefined, 2)}\n`)
console.log(soakText(report))
process.exit(report.faults.length === 0 ? 0 : 1)
