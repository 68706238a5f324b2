import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord } from '../../src/message/records.ts'
import { encodeUpdate, fixedMetric, metricOf, roundedShare } from '../../src/sdk/secure-aggregation/fixed-point.ts'
import { MaskedVector } from '../../src/sdk/secure-aggregation/masked-vector.ts'
import {
  derivedKey,
  type Purpose,
  publicKeyOf,
  seal,
  sharedSecrets,
  unseal,
} from '../../src/sdk/secure-aggregation/round-keys.ts'
import { evaluated, secretJoiner, splitSecret } from '../../src/sdk/secure-aggregation/secret-sharing.ts'
import { hexOf } from '../../src/sdk/secure-aggregation/wire.ts'
import { readVectors } from './vectors.ts'

/** Secure aggregation as `examples/secure-aggregation/secure_aggregation.py` does it, recorded by `make-vectors.py`. */
interface SecureAggregationCase {
  readonly session: string
  readonly nodes: readonly string[]
  readonly private: readonly [string, string]
  readonly public: readonly [string, string]
  readonly secret: string
  readonly keys: Readonly<Record<Purpose, string>>
  readonly sealed: string
  readonly plain: string
  readonly coefficients: readonly string[]
  readonly shares: readonly string[]
  readonly before: Readonly<Record<'w' | 't' | 'h', number[]>>
  readonly after: Readonly<Record<'w' | 't' | 'h', number[]>>
  readonly share: number
  readonly values: readonly number[]
  readonly clipped: number
  readonly metrics: readonly number[]
  readonly fixed: readonly string[]
  readonly masked_values: readonly number[]
  readonly masked_metrics: readonly string[]
}

const [vector] = readVectors<SecureAggregationCase>('secure-aggregation.jsonl') as [SecureAggregationCase]
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))
const modelOf = ({ w, t, h }: SecureAggregationCase['before']): ArrayRecord =>
  new ArrayRecord({
    w: NdArray.from(Float32Array.from(w), [2, 3]),
    t: NdArray.from(Float64Array.from(t), [2, 3]),
    h: NdArray.from(Float16Array.from(h), []),
  })

test('keys and sealed shares are those of the Python mod', () => {
  vector.private.forEach((key, index) => {
    assert.equal(hexOf(publicKeyOf(bytes(key))), vector.public[index])
  })
  const secret = sharedSecrets(bytes(vector.private[0]))(bytes(vector.public[1]))
  assert.equal(hexOf(secret), vector.secret)
  const nodes = vector.nodes.map(bytes)
  for (const [purpose, key] of Object.entries(vector.keys) as [Purpose, string][]) {
    const named = nodes.slice(0, purpose === 'own mask' ? 1 : 2)
    assert.equal(hexOf(derivedKey(secret, bytes(vector.session), purpose, named)), key)
  }
  const [key, nonce] = [bytes(vector.keys.shares), bytes(vector.sealed).subarray(0, 12)]
  assert.equal(hexOf(seal(key, bytes(vector.plain), nonce)), vector.sealed)
  assert.equal(hexOf(unseal(key, bytes(vector.sealed)) as Uint8Array), vector.plain)
  assert.equal(unseal(key, bytes(vector.sealed).fill(0, 20, 21)), undefined)
  assert.equal(unseal(key, new Uint8Array(20)), undefined)
})

test('shares are those of the Python mod, and as many as the threshold give the secret', () => {
  const shares = evaluated(vector.coefficients.map(BigInt), vector.shares.length)
  assert.deepEqual(shares.map(hexOf), vector.shares)
  for (const members of [
    [1, 2, 3, 4],
    [6, 1, 5, 3],
  ]) {
    const chosen = members.map((member) => shares[member - 1] as Uint8Array)
    assert.equal(hexOf(secretJoiner(members)(chosen)), vector.private[1])
  }
  for (const secret of [new Uint8Array(32), new Uint8Array(32).fill(255)]) {
    const split = splitSecret(secret, 5, 3)
    assert.deepEqual(secretJoiner([2, 3, 5])([1, 2, 4].map((place) => split[place] as Uint8Array)), secret)
    assert.notDeepEqual(split[0]?.subarray(1), secret)
  }
})

test('an update and metrics are the same numbers as in the Python mod, also masked', async () => {
  const share = roundedShare(0.1)
  assert.equal(share, vector.share)
  const masked = new MaskedVector(vector.values.length, vector.metrics.length)
  const models = { current: modelOf(vector.before), trained: modelOf(vector.after) }
  const clipped = encodeUpdate(models, share, { clippingRange: 8, bits: 22 }, masked.values)
  assert.deepEqual([...masked.values], vector.values)
  assert.equal(clipped, vector.clipped)
  const fixed = vector.metrics.map((metric) => fixedMetric('m', metric))
  assert.deepEqual(
    fixed.map((number) => String(BigInt.asUintN(64, number))),
    vector.fixed,
  )
  assert.deepEqual(
    fixed.map(metricOf).map((number) => Math.round(number * 1e6) / 1e6),
    vector.metrics,
  )
  masked.metrics.set(fixed.map((number) => BigInt.asUintN(64, number)))
  await masked.applyMask(bytes(vector.keys['pair mask']), 1)
  await masked.applyMask(bytes(vector.keys['own mask']), -1)
  assert.deepEqual([...masked.values], vector.masked_values)
  assert.deepEqual([...masked.metrics].map(String), vector.masked_metrics)
})
