import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as asn1js from 'asn1js'
import {
  addExtension,
  after,
  before,
  bits,
  both,
  type ChainRequest,
  chainNow,
  derOf,
  judgeChain,
  makeChain,
  makeIntermediate,
  makeLeaf,
  nothing,
  oids,
  second,
  usage,
  withExtension,
} from '../../test/harness/chains.ts'

/** Each differs in one thing from a path of root, intermediate and leaf that is good. */
const deviations: readonly (readonly [name: string, request: ChainRequest, reason: string])[] = [
  ['the leaf expired a second ago', { leaf: before(second) }, 'certificate-expired'],
  [
    'the leaf expired long ago',
    { leaf: { notBefore: new Date(0), notAfter: new Date(second) } },
    'certificate-expired',
  ],
  ['the leaf is valid in a second', { leaf: after(second) }, 'certificate-not-yet-valid'],
  [
    'the leaf ends before it begins',
    { leaf: { notBefore: new Date(chainNow - second), notAfter: new Date(chainNow - 2 * second) } },
    'certificate-expired',
  ],
  ['the intermediate has expired', { intermediate: before(second) }, 'invalid-chain'],
  ['the intermediate is not valid yet', { intermediate: after(second) }, 'invalid-chain'],
  ['the root has expired', { root: before(second) }, 'invalid-chain'],
  ['the root is not valid yet', { root: after(second) }, 'invalid-chain'],

  [
    'the intermediate does not say that it is a CA',
    { intermediate: withExtension(oids.basicConstraints, 'none') },
    'unknown-ca',
  ],
  ['the intermediate says that it is no CA', { intermediate: { ca: false } }, 'unknown-ca'],
  [
    'the intermediate has no extensions at all',
    {
      intermediate: {
        edit: (one) => {
          one.extensions = undefined as never
          one.version = 0
        },
      },
    },
    'unknown-ca',
  ],
  ['the leaf is a CA', { leaf: { ca: true } }, 'ca-used-as-client'],
  ['the root allows no intermediate', { root: { pathLength: 0 } }, 'invalid-chain'],
  [
    'an intermediate allows no other below it',
    {
      intermediate: { pathLength: 0 },
      sent: async ({ intermediate }) => {
        const lower = await makeIntermediate(intermediate, { commonName: 'Lower' })
        return [await makeLeaf(lower), lower, intermediate].map(derOf)
      },
    },
    'invalid-chain',
  ],
  [
    'the root allows one intermediate and there are two',
    {
      root: { pathLength: 1 },
      sent: async ({ intermediate }) => {
        const lower = await makeIntermediate(intermediate, { commonName: 'Lower' })
        return [await makeLeaf(lower), lower, intermediate].map(derOf)
      },
    },
    'invalid-chain',
  ],
  ['the leaf limits a path and is no CA', { leaf: { pathLength: 0 } }, 'invalid-chain'],

  ['the intermediate may not sign certificates', { intermediate: { keyUsage: 0x02 } }, 'invalid-chain'],
  ['the intermediate may sign everything but certificates', { intermediate: { keyUsage: 0x82 } }, 'invalid-chain'],
  ['the root may not sign certificates', { root: { keyUsage: 0x02 } }, 'invalid-chain'],
  ['the leaf may only encipher', { leaf: { keyUsage: 0x20 } }, 'wrong-key-usage'],
  ['the leaf may only agree on keys', { leaf: { keyUsage: 0x08 } }, 'wrong-key-usage'],
  ['the leaf may sign certificates and is no CA', { leaf: { keyUsage: 0x84 } }, 'invalid-chain'],
  [
    'the key of the leaf may be used for nothing',
    {
      leaf: withExtension(oids.keyUsage, (one) => {
        one.extnValue = new asn1js.OctetString({ valueHex: bits(0, 7).toBER() })
      }),
    },
    'invalid-chain',
  ],

  ['the leaf is for servers', { leaf: { usages: ['server'] } }, 'wrong-extended-key-usage'],
  [
    'the leaf is for signing code',
    { leaf: { ...usage('1.3.6.1.5.5.7.3.3'), usages: undefined as never } },
    'wrong-extended-key-usage',
  ],
  ['the leaf is for OCSP', { leaf: { usages: ['ocsp'] } }, 'wrong-extended-key-usage'],
  ['the leaf is for no purpose', { leaf: { ...usage(), usages: undefined as never } }, 'invalid-chain'],
  ['the intermediate vouches for servers alone', { intermediate: { usages: ['server'] } }, 'invalid-chain'],
  ['the root vouches for servers alone', { root: { usages: ['server'] } }, 'invalid-chain'],

  ['the leaf has an unknown critical extension', { leaf: { criticalExtension: '1.2.3.4' } }, 'invalid-chain'],
  ['the intermediate has one', { intermediate: { criticalExtension: '1.2.3.4' } }, 'invalid-chain'],
  ['the root has one', { root: { criticalExtension: '1.2.3.4' } }, 'invalid-chain'],
  [
    'the leaf has an extension twice',
    { leaf: both(addExtension('1.2.3.4', nothing), addExtension('1.2.3.4', nothing)) },
    'malformed-certificate',
  ],
  ['the leaf has its key usage twice', { leaf: addExtension(oids.keyUsage, bits(0x80, 7)) }, 'malformed-certificate'],
  [
    'the intermediate demands policies',
    { intermediate: addExtension(oids.policyConstraints, new asn1js.Sequence(), true) },
    'invalid-chain',
  ],
  [
    'the intermediate demands policies without saying that this is critical',
    { intermediate: addExtension(oids.policyConstraints, new asn1js.Sequence()) },
    'invalid-chain',
  ],
  [
    'the intermediate inhibits a policy',
    { intermediate: addExtension(oids.inhibitAnyPolicy, new asn1js.Integer({ value: 0 }), true) },
    'invalid-chain',
  ],
  [
    'the key identifier of the leaf is critical',
    {
      leaf: withExtension(oids.subjectKeyId, (one) => {
        one.critical = true
      }),
    },
    'invalid-chain',
  ],
  [
    'the key identifier of its issuer is critical',
    {
      leaf: withExtension(oids.authorityKeyId, (one) => {
        one.critical = true
      }),
    },
    'invalid-chain',
  ],
]

for (const [name, request, reason] of deviations)
  test(`refused when ${name}`, async () => {
    assert.equal(judgeChain(await makeChain(request)), reason)
  })
