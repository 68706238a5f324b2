import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as asn1js from 'asn1js'
import {
  addExtension,
  both,
  type ChainRequest,
  derOf,
  flip,
  judgeChain,
  makeChain,
  makeIntermediate,
  makeLeaf,
  makeRoot,
  nameless,
  oids,
  serial,
  withExtension,
} from '../../test/harness/chains.ts'

/** Each differs in one thing from a path of root, intermediate and leaf that is good. */
const deviations: readonly (readonly [name: string, request: ChainRequest, reason: string])[] = [
  ['the serial number is zero', { leaf: serial(0) }, 'invalid-chain'],
  ['the serial number is negative', { leaf: serial(0x80, 1) }, 'invalid-chain'],
  ['the serial number has 21 bytes', { leaf: serial(...new Array(21).fill(0x41)) }, 'invalid-chain'],
  ['the serial number of the intermediate is zero', { intermediate: serial(0) }, 'invalid-chain'],
  [
    'the leaf is of version 1 and has extensions',
    {
      leaf: {
        edit: (one) => {
          one.version = 0
        },
      },
    },
    'invalid-chain',
  ],

  [
    'the leaf has no subject, and names that are not critical',
    {
      leaf: both(
        nameless,
        addExtension(
          oids.subjectAltName,
          new asn1js.Sequence({
            value: [
              new asn1js.Primitive({
                idBlock: { tagClass: 3, tagNumber: 2 },
                valueHex: Uint8Array.from(Buffer.from('a.example')).buffer,
              }),
            ],
          }),
        ),
      ),
    },
    'invalid-chain',
  ],
  ['the leaf has no names at all', { leaf: nameless }, 'invalid-chain'],
  ['the intermediate has no name', { intermediate: nameless }, 'invalid-chain'],
  ['the root has no name', { root: nameless }, 'invalid-chain'],
  [
    'the alternative names are an empty list',
    { leaf: addExtension(oids.subjectAltName, new asn1js.Sequence()) },
    'invalid-chain',
  ],
  ['a DNS name has an underscore', { leaf: { dns: ['node_1.example'] } }, 'invalid-chain'],
  ['a DNS name is an address', { leaf: { dns: ['127.0.0.1'] } }, 'invalid-chain'],
  ['a DNS name has an empty label', { leaf: { dns: ['a..example'] } }, 'invalid-chain'],
  ['a DNS name has a star in the middle', { leaf: { dns: ['a.*.example'] } }, 'invalid-chain'],
  ['a DNS name has a null character', { leaf: { dns: ['good.example\0.evil.example'] } }, 'invalid-chain'],

  [
    'a CA of the same name with another key has signed the leaf',
    {
      sent: async ({ intermediate }) => [
        derOf(await makeLeaf(await makeIntermediate(await makeRoot()))),
        derOf(intermediate),
      ],
    },
    'unknown-ca',
  ],
  [
    'a CA of the same name with another key has signed the intermediate',
    { trusted: async () => [derOf(await makeRoot())] },
    'unknown-ca',
  ],
  [
    'the leaf signed itself',
    { sent: async () => [derOf(await makeRoot({ ca: false, commonName: 'node-1' }))] },
    'unknown-ca',
  ],
  [
    'the leaf names a key of its CA that this one does not have',
    {
      leaf: withExtension(oids.authorityKeyId, (one) => {
        one.extnValue = new asn1js.OctetString({
          valueHex: new asn1js.Sequence({
            value: [
              new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: 0 }, valueHex: new Uint8Array(20).buffer }),
            ],
          }).toBER(),
        })
      }),
    },
    'unknown-ca',
  ],
  ['a bit of the signature is another', { damage: flip(-1) }, 'unknown-ca'],
  [
    'a bit of what is signed is another',
    { damage: (der) => flip(Buffer.from(der).indexOf('node-1'))(der) },
    'unknown-ca',
  ],
  ['the leaf was signed with SHA-1', { leaf: { digest: 'SHA-1' } }, 'weak-key-or-signature'],
  ['the intermediate was signed with SHA-1', { intermediate: { digest: 'SHA-1' } }, 'weak-key-or-signature'],

  ['the intermediate is not sent', { sent: ({ leaf }) => [derOf(leaf)] }, 'missing-intermediate'],
  ['the leaf comes last', { sent: ({ leaf, intermediate }) => [intermediate, leaf].map(derOf) }, 'ca-used-as-client'],
  [
    'nothing is trusted but another root',
    { trusted: async () => [derOf(await makeRoot({ commonName: 'Other' }))] },
    'unknown-ca',
  ],
  [
    'nine certificates are sent',
    { sent: ({ leaf, intermediate }) => [leaf, ...new Array(8).fill(intermediate)].map(derOf) },
    'malformed-certificate',
  ],
  ['bytes follow the leaf', { damage: (der) => Buffer.concat([der, Buffer.of(0)]) }, 'malformed-certificate'],
  ['the leaf is cut short', { damage: (der) => der.subarray(0, -1) }, 'malformed-certificate'],
]

for (const [name, request, reason] of deviations)
  test(`refused when ${name}`, async () => {
    assert.equal(judgeChain(await makeChain(request)), reason)
  })
