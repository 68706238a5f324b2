import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exponential, logarithm, power } from './exact-functions.ts'

test('powers, exponentials and logarithms are the doubles nearest to the true values', () => {
  // Computed with 80 decimal digits.
  assert.equal(power(0.99, 2), 0.9801)
  assert.equal(power(0.9, 11), 0.31381059609000006)
  assert.equal(power(0.99, 250), 0.08105851616218128)
  assert.equal(power(2.2500000001, 0.1), 1.0844717712025185)
  assert.equal(power(1e-10, -0.9), 1000000000.0000005)
  assert.equal(power(2, -1074), 5e-324)
  assert.equal(power(134217729, 2), 18014398777917440)
  assert.equal(exponential(-0.1), 0.9048374180359595)
  assert.equal(exponential(1), Math.E)
  assert.equal(logarithm(10), Math.LN10)
  assert.equal(logarithm(125000), 11.736069016284437)
  assert.equal(logarithm(0.5), -Math.LN2)
})

test('what is special has the results of JavaScript', () => {
  assert.equal(power(0, 0.1), 0)
  assert.equal(power(0, -0.9), Number.POSITIVE_INFINITY)
  assert.equal(power(-2, 3), -8)
  assert.equal(power(-2, 0.5), Number.NaN)
  assert.equal(power(5, 0), 1)
  assert.equal(power(10, 400), Number.POSITIVE_INFINITY)
  assert.equal(exponential(0), 1)
  assert.equal(exponential(-800), 0)
  assert.equal(logarithm(1), 0)
  assert.equal(logarithm(-1), Number.NaN)
})
