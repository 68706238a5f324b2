import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as asn1js from 'asn1js'
import type { GeneralName } from 'pkijs'
import * as pkijs from 'pkijs'
import {
  addExtension,
  both,
  constraints,
  derOf,
  directoryName,
  dnsName,
  emailName,
  ipName,
  judgeChain,
  makeChain,
  makeIntermediate,
  makeLeaf,
  type Subtrees,
  uriName,
} from '../../test/harness/chains.ts'
import type { CertificateRequest } from './pki.ts'

type Row = readonly [name: string, trees: Subtrees, leaf: Partial<CertificateRequest>, good: boolean]

const permitted = (...names: GeneralName[]): Subtrees => ({ permitted: names })
const excluded = (...names: GeneralName[]): Subtrees => ({ excluded: names })
const [organization, commonName] = ['2.5.4.10', '2.5.4.3']
const dns = (...names: string[]): Partial<CertificateRequest> => ({ dns: names })
const manyNames = Array.from({ length: 200 }, (_, index) => `n${index}.hospital.example`)

/** What an intermediate is limited to, what the leaf is called, and whether that is within. */
const rows: readonly Row[] = [
  ['a DNS name is the permitted one', permitted(dnsName('hospital.example')), dns('hospital.example'), true],
  ['it is below it', permitted(dnsName('hospital.example')), dns('a.b.hospital.example'), true],
  ['it is written in other letters', permitted(dnsName('Hospital.Example')), dns('a.HOSPITAL.example'), true],
  ['it only ends like it', permitted(dnsName('hospital.example')), dns('nohospital.example'), false],
  ['it is above it', permitted(dnsName('a.hospital.example')), dns('hospital.example'), false],
  ['one of two names is outside', permitted(dnsName('hospital.example')), dns('hospital.example', 'b.example'), false],
  ['it is below one of two', permitted(dnsName('a.example'), dnsName('b.example')), dns('x.b.example'), true],
  ['it is excluded', excluded(dnsName('hospital.example')), dns('a.hospital.example'), false],
  ['another is excluded', excluded(dnsName('other.example')), dns('a.hospital.example'), true],
  [
    'it is permitted and excluded',
    { permitted: [dnsName('example')], excluded: [dnsName('b.example')] },
    dns('a.b.example'),
    false,
  ],
  ['a pattern is within', permitted(dnsName('hospital.example')), dns('*.hospital.example'), true],
  ['a pattern reaches out', permitted(dnsName('a.hospital.example')), dns('*.hospital.example'), false],
  [
    'a pattern can stand for one that is excluded',
    excluded(dnsName('a.hospital.example')),
    dns('*.hospital.example'),
    false,
  ],
  ['every DNS name is excluded', excluded(dnsName('')), dns('a.example'), false],
  ['the constraint begins with a point', permitted(dnsName('.hospital.example')), dns('a.hospital.example'), false],
  ['the constraint is a pattern', permitted(dnsName('*.hospital.example')), dns('a.hospital.example'), false],
  [
    'the common name is a host name within',
    permitted(dnsName('hospital.example')),
    { commonName: 'a.hospital.example' },
    true,
  ],
  [
    'the common name is a host name outside',
    permitted(dnsName('hospital.example')),
    { commonName: 'a.other.example', dns: ['a.hospital.example'] },
    false,
  ],
  [
    'the common name is no host name',
    permitted(dnsName('hospital.example')),
    { commonName: 'Node of other.example' },
    true,
  ],

  [
    'a mailbox is the permitted one',
    permitted(emailName('a@hospital.example')),
    { emails: ['a@HOSPITAL.example'] },
    true,
  ],
  [
    'a mailbox differs in its letters',
    permitted(emailName('a@hospital.example')),
    { emails: ['A@hospital.example'] },
    false,
  ],
  [
    'a mailbox is at the permitted host',
    permitted(emailName('hospital.example')),
    { emails: ['a@hospital.example'] },
    true,
  ],
  [
    'a mailbox is at a host below it',
    permitted(emailName('hospital.example')),
    { emails: ['a@x.hospital.example'] },
    false,
  ],
  [
    'a mailbox is below a domain',
    permitted(emailName('.hospital.example')),
    { emails: ['a@x.hospital.example'] },
    true,
  ],
  [
    'a mailbox is at the domain itself',
    permitted(emailName('.hospital.example')),
    { emails: ['a@hospital.example'] },
    false,
  ],
  ['an address has two signs', permitted(emailName('hospital.example')), { emails: ['a@b@hospital.example'] }, false],
  [
    'an address of the subject is outside',
    permitted(emailName('hospital.example')),
    mailInSubject('a@other.example'),
    false,
  ],

  ['a URI has the permitted host', permitted(uriName('fl.example')), { uris: ['spiffe://fl.example/node/1'] }, true],
  ['a URI has another host', permitted(uriName('fl.example')), { uris: ['spiffe://other.example/node/1'] }, false],
  ['a URI has a host below a domain', permitted(uriName('.example')), { uris: ['spiffe://fl.example/node/1'] }, true],
  [
    'a URI has a user and a port',
    permitted(uriName('fl.example')),
    { uris: ['https://fl.example@other.example:1/'] },
    false,
  ],
  ['a URI has no host', permitted(uriName('fl.example')), { uris: ['urn:uuid:1'] }, false],
  ['a URI has an address for a host', excluded(uriName('other.example')), { uris: ['https://127.0.0.1/'] }, false],
  ['a URI has the excluded host', excluded(uriName('fl.example')), { uris: ['spiffe://fl.example/node/1'] }, false],

  ['an address is within', permitted(ipName(10, 1, 0, 0, 255, 255, 0, 0)), { ips: ['10.1.2.3'] }, true],
  ['an address is outside', permitted(ipName(10, 1, 0, 0, 255, 255, 0, 0)), { ips: ['10.2.0.1'] }, false],
  ['an address is of the other kind', permitted(ipName(10, 1, 0, 0, 255, 255, 0, 0)), { ips: ['::1'] }, false],
  ['an address is excluded', excluded(ipName(10, 0, 0, 0, 255, 0, 0, 0)), { ips: ['10.2.0.1'] }, false],
  ['a mask has a hole', permitted(ipName(10, 1, 0, 0, 255, 0, 255, 0)), { ips: ['10.1.0.3'] }, false],
  ['a range is too short', permitted(ipName(10, 1, 0, 0)), { ips: ['10.1.0.0'] }, false],

  ['the subject is within', permitted(directoryName([organization, 'Hospital'])), {}, true],
  ['the subject is within, in other letters', permitted(directoryName([organization, 'HOSPITAL'])), {}, true],
  ['the subject is outside', permitted(directoryName([organization, 'Clinic'])), {}, false],
  ['the subject has the parts in another order', permitted(directoryName([commonName, 'node-1'])), {}, false],
  ['the subject is excluded', excluded(directoryName([organization, 'Hospital'])), {}, false],

  ['names of other types are not concerned', permitted(dnsName('hospital.example')), { uris: ['spiffe://a/1'] }, true],
  ['names of that type cannot be compared', excluded(new pkijs.GeneralName({ type: 8, value: '1.2.3' })), {}, true],
  ['there is nothing in the constraints', {}, {}, false],
  ['there is more to compare than is compared', permitted(...manyNames.map(dnsName)), dns(...manyNames), false],
]

for (const [name, trees, leaf, isGood] of rows)
  test(`${isGood ? 'let in' : 'refused'} under name constraints when ${name}`, async () => {
    assert.equal(
      judgeChain(await makeChain({ intermediate: constraints(trees), leaf })),
      isGood ? 'good' : 'name-not-permitted',
    )
  })

test('constraints hold for all below, of a root too, marked critical or not, but not for a CA that only has a new key', async () => {
  const outside = dns('a.other.example')
  const trees = permitted(dnsName('hospital.example'))
  assert.equal(
    judgeChain(await makeChain({ root: constraints(trees), intermediate: {}, leaf: outside })),
    'name-not-permitted',
  )
  assert.equal(
    judgeChain(await makeChain({ intermediate: constraints(trees, false), leaf: outside })),
    'name-not-permitted',
  )
  assert.equal(judgeChain(await makeChain({ leaf: constraints(trees) })), 'invalid-chain')

  // The middle one is within nothing, and has the name of the one above.
  const excludesItself = constraints(excluded(directoryName([organization, 'Fleet'])))
  const renewed = await makeChain({
    intermediate: excludesItself,
    sent: async ({ intermediate }) => {
      const withNewKey = await makeIntermediate(intermediate)
      return [await makeLeaf(withNewKey), withNewKey, intermediate].map(derOf)
    },
  })
  assert.equal(judgeChain(renewed), 'good')
  const other = await makeChain({
    intermediate: excludesItself,
    sent: async ({ intermediate }) => {
      const lower = await makeIntermediate(intermediate, { commonName: 'Lower' })
      return [await makeLeaf(lower), lower, intermediate].map(derOf)
    },
  })
  assert.equal(judgeChain(other), 'name-not-permitted')
})

test('where one path is limited and another is not, the other counts', async () => {
  const { sent, trusted } = await makeChain({
    leaf: dns('a.other.example'),
    sent: async ({ root, intermediate, leaf }) => {
      const limited = await makeIntermediate(root, constraints(permitted(dnsName('hospital.example'))))
      return [leaf, limited, intermediate].map(derOf)
    },
  })
  assert.equal(judgeChain({ sent, trusted }), 'good')
})

test('a range in a constraint, which the standard does not use, makes it unusable', async () => {
  const base = dnsName('hospital.example')
  const subtree = new pkijs.GeneralSubtree({ base, minimum: 1 })
  const value = new pkijs.NameConstraints({ permittedSubtrees: [subtree] })
  const limited = both(addExtension('2.5.29.30', value.toSchema(), true))
  assert.equal(
    judgeChain(await makeChain({ intermediate: limited, leaf: dns('hospital.example') })),
    'name-not-permitted',
  )
})

/** As certificates of old have it. */
function mailInSubject(value: string): Partial<CertificateRequest> {
  const attribute = new pkijs.AttributeTypeAndValue({
    type: '1.2.840.113549.1.9.1',
    value: new asn1js.IA5String({ value }),
  })
  return {
    edit(certificate) {
      certificate.subject = new pkijs.RelativeDistinguishedNames({ typesAndValues: [attribute] })
    },
  }
}
