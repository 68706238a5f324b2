import assert from 'node:assert/strict'
import { test } from 'node:test'
import { float, toJson } from './output.ts'

test('JSON keeps 64-bit integers exact and floating-point numbers floating, as Python writes them', () => {
  const text = toJson({
    id: 18446744073709551615n,
    whole: 3,
    elapsed: float(55),
    tiny: float(1e-5),
    name: 'ü',
    no: null,
  })
  assert.equal(
    text,
    `{
  "id": 18446744073709551615,
  "whole": 3,
  "elapsed": 55.0,
  "tiny": 1e-05,
  "name": "ü",
  "no": null
}`,
  )
})
