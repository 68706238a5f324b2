import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reasonAt } from './asking.ts'

test('an error names its node beside the place in the app', () => {
  assert.equal(reasonAt('no data', 'hospital-a'), 'no data (node hospital-a)')
  assert.equal(
    reasonAt('ReferenceError: dat is not defined (digits/client-app.ts:31:9)', 'hospital-a'),
    'ReferenceError: dat is not defined (digits/client-app.ts:31:9, node hospital-a)',
  )
})
