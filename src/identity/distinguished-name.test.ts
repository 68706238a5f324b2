import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as asn1js from 'asn1js'
import { wholeOf } from './der.ts'
import { readAttributes, toDistinguishedName } from './distinguished-name.ts'

/** A name of one attribute of each pair. */
function nameOf(...attributes: readonly (readonly [oid: string, value: asn1js.BaseBlock])[]): Uint8Array {
  const sets = attributes.map(([value, text]) => {
    const pair = [new asn1js.ObjectIdentifier({ value }), text] as never
    return new asn1js.Set({ value: [new asn1js.Sequence({ value: pair })] })
  })
  return new Uint8Array(new asn1js.Sequence({ value: sets }).toBER())
}

const read = (der: Uint8Array) => toDistinguishedName(readAttributes(der, wholeOf(der)))
const [commonName, organization, unit] = ['2.5.4.3', '2.5.4.10', '2.5.4.11'] as const

test('a name is read in every kind of string, and written as RFC 4514 has it', () => {
  const name = read(
    nameOf(
      [organization, new asn1js.BmpString({ value: 'Krankenhaus Zürich' })],
      [unit, new asn1js.UniversalString({ value: 'Röntgen' })],
      [unit, new asn1js.PrintableString({ value: 'a, b' })],
      ['2.5.4.99', new asn1js.IA5String({ value: 'x' })],
      [commonName, new asn1js.Utf8String({ value: 'Knoten 1' })],
    ),
  )
  assert.deepEqual(name, {
    commonNames: ['Knoten 1'],
    organizations: ['Krankenhaus Zürich'],
    units: ['Röntgen', 'a, b'],
    text: 'CN=Knoten 1,2.5.4.99=x,OU=a\\, b,OU=Röntgen,O=Krankenhaus Zürich',
  })
})

test('values that are no text differ in writing if they differ', () => {
  const octets = (byte: number) =>
    read(nameOf([commonName, new asn1js.OctetString({ valueHex: Uint8Array.of(byte).buffer })]))
  assert.equal(octets(1).text, 'CN=#040101')
  assert.notEqual(octets(1).text, octets(2).text)
})

test('what is no name is an error, and so is broken UTF-8', () => {
  const broken = nameOf([commonName, new asn1js.Utf8String({ value: 'ab' })])
  broken[broken.length - 1] = 0xff
  assert.throws(() => read(broken))
  assert.throws(() => read(Uint8Array.of(0x30, 2, 0x30, 0)), /cannot be read/)
  assert.equal(read(Uint8Array.of(0x30, 2, 0x31, 0)).text, '')
})
