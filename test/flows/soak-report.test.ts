import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Gauge, gauges, type Sample } from '../soak/gauges.ts'
import { describeSoak, soakText } from '../soak/report.ts'

const MiB = 1024 * 1024
const counts = {
  seconds: 3600,
  runsCompleted: 300,
  runsFailed: 0,
  rounds: 1200,
  nodesStarted: 9,
  nodesKilled: 4,
  nodesEndedLate: 0,
  certificatesRenewed: 59,
}

/** An hour in which one gauge has other values than the rest. */
function hour(gauge: Gauge, valueAt: (atSeconds: number) => number): Sample[] {
  return Array.from({ length: 360 }, (_, index) => {
    const atSeconds = index * 10
    const values = Object.fromEntries(gauges.map((name) => [name, 100]))
    return { atSeconds, values: { ...values, [gauge]: valueAt(atSeconds) } as Sample['values'] }
  })
}

test('a soak is without a fault if what grows in the first tenth stays as it is then', () => {
  const samples = hour('superlinkMemory', (at) =>
    at < 360 ? 20 * MiB + at * MiB : at % 50 === 0 ? 900 * MiB : 400 * MiB,
  )
  const report = describeSoak(counts, samples, [])
  assert.deepEqual(report.faults, [])
  assert.match(soakText(report), /^60 minutes: 300 runs completed, 0 failed/)
  assert.match(soakText(report), /superlinkMemory +400\.0 MiB +400\.0 MiB +900\.0 MiB {2}flat/)
})

test('a soak names what grows from start to end', () => {
  for (const gauge of ['superexecMemory', 'supernodeHandles', 'database', 'disk'] as const) {
    const isCount = gauge.endsWith('Handles')
    const samples = hour(gauge, (at) => (isCount ? 20 + at / 100 : 50 * MiB + at * 32 * 1024))
    const { faults } = describeSoak(counts, samples, ['one more'])
    assert.deepEqual(
      faults.map((fault) => fault.split(' ')[0]),
      ['one', gauge],
    )
  }
})
