import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesText, durationText, instantText, secondsBetween } from './units.ts'

test('lengths of time are told in the units that people would use', () => {
  const shown = [0, 0.9, 89.9, 90, 125, 3599, 3600, 12_000, 86_399, 86_400, 100_800].map(durationText)
  assert.deepEqual(shown, [
    ...['0s', '0s', '89s', '1m 30s', '2m 5s', '59m 59s', '1h 0m', '3h 20m', '23h 59m', '1d 0h', '1d 4h'],
  ])
})

test('sizes are 1024-based, with one decimal where it matters', () => {
  const shown = [0, 1023, 1024, 1536, 10_240, 1024 ** 2, 5.25 * 1024 ** 3, 1024 ** 5].map(bytesText)
  assert.deepEqual(shown, ['0 B', '1023 B', '1.0 KB', '1.5 KB', '10 KB', '1.0 MB', '5.3 GB', '1024 TB'])
})

test('instants are told to the second in UTC, and those that have not come are not there', () => {
  assert.equal(instantText('2026-11-25T10:20:30.123456+00:00'), '2026-11-25 10:20:30Z')
  assert.equal(instantText(''), 'N/A')
  assert.equal(instantText(undefined), 'N/A')
  assert.equal(secondsBetween('2026-11-25T10:20:30.500000+00:00', '2026-11-25T10:21:30+00:00'), 59.5)
  assert.equal(secondsBetween('', '2026-11-25T10:21:30+00:00'), 0)
})
