import assert from 'node:assert/strict'
import { test } from 'node:test'
import { elementAt, Fields, oidOf, onlyIn, smallNumberOf, tags } from './der.ts'

function whole(hex: string): { bytes: Buffer; element: ReturnType<typeof elementAt> } {
  const bytes = Buffer.from(hex, 'hex')
  return { bytes, element: elementAt(bytes, 0, bytes.length) }
}

const oid = (hex: string): string => {
  const { bytes, element } = whole(hex)
  return oidOf(bytes, element)
}

test('an object identifier reads as its numbers, however large they are', () => {
  assert.equal(oid('06092a864886f70d010101'), '1.2.840.113549.1.1.1')
  assert.equal(oid('0603551d11'), '2.5.29.17')
  assert.equal(oid('0603883703'), '2.999.3')
  assert.equal(oid('060100'), '0.0')
  const largestUuid = '06146983ffffffffffffffffffffffffffffffffff7f'
  assert.equal(oid(largestUuid), `2.25.${2n ** 128n - 1n}`)
})

test('an object identifier has one spelling', () => {
  for (const hex of ['0600', '0604551d8011', '060355801d', '0603551d91', `0641${'01'.repeat(65)}`])
    assert.throws(() => oid(hex), /object identifier that cannot be read/, hex)
})

test('a small number is not negative, and has four bytes at most', () => {
  const number = (hex: string): number => {
    const { bytes, element } = whole(hex)
    return smallNumberOf(bytes, element)
  }
  assert.equal(number('020100'), 0)
  assert.equal(number('02047fffffff'), 2 ** 31 - 1)
  for (const hex of ['0200', '0201ff', '02050100000000']) assert.throws(() => number(hex), /cannot be read/, hex)
})

test('fields are taken in their order, and none is left', () => {
  const { bytes, element } = whole('30080101ff020105' + '0500')
  const fields = new Fields(bytes, element)
  assert.equal(fields.take(tags.integer), undefined)
  assert.equal(fields.need(tags.boolean).tag, tags.boolean)
  assert.equal(fields.take(tags.integer)?.tag, tags.integer)
  assert.throws(() => fields.need(tags.oid), /another element/)
  assert.throws(() => new Fields(bytes, element).end(), /more follows/)
  assert.throws(() => onlyIn(bytes, element, tags.boolean), /more follows/)
})
