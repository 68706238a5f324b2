import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import * as asn1js from 'asn1js'
import {
  addExtension,
  before,
  both,
  type ChainRequest,
  chainNow,
  derOf,
  judgeChain,
  makeChain,
  makeIntermediate,
  makeLeaf,
  makeRoot,
  nothing,
  oids,
  second,
  serial,
  usage,
  withExtension,
} from '../../test/harness/chains.ts'
import { damaged } from '../../test/harness/damage.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { needsOpenssl } from '../../test/harness/openssl.ts'
import { processorMs } from '../../test/harness/processor-time.ts'
import { randomFrom } from '../../test/harness/random.ts'

/** Certificates that are unusual but valid: being stricter than the standard would reject CAs made by hand. */
const good: readonly (readonly [name: string, request: ChainRequest, openssl?: 'stricter'])[] = [
  ['nothing', {}],
  [
    'the order of what is sent',
    {
      sent: async ({ intermediate }) => {
        const lower = await makeIntermediate(intermediate, { commonName: 'Lower' })
        return [await makeLeaf(lower), intermediate, lower].map(derOf)
      },
    },
  ],
  ['the root is sent too', { sent: ({ leaf, intermediate, root }) => [leaf, intermediate, root].map(derOf) }],
  [
    'unrelated certificates are sent too',
    { sent: async ({ leaf, intermediate }) => [leaf, await makeRoot({ commonName: 'X' }), intermediate].map(derOf) },
  ],
  [
    'the operator has the intermediate',
    { sent: ({ leaf }) => [derOf(leaf)], trusted: ({ root, intermediate }) => [root, intermediate].map(derOf) },
  ],
  [
    'the leaf has no key identifiers',
    { leaf: both(withExtension(oids.subjectKeyId, 'none'), withExtension(oids.authorityKeyId, 'none')) },
  ],
  [
    'the intermediate has no key identifiers',
    { intermediate: both(withExtension(oids.subjectKeyId, 'none'), withExtension(oids.authorityKeyId, 'none')) },
  ],
  // OpenSSL wants the purpose to be named.
  ['the leaf may be used for anything', { leaf: { ...usage('2.5.29.37.0'), usages: undefined as never } }, 'stricter'],
  ['the leaf does not say what for', { leaf: { usages: undefined as never } }],
  ['the leaf has no key usage', { leaf: { keyUsage: 'none' } }],
  [
    'the leaf has no extensions at all',
    {
      leaf: {
        edit: (one) => {
          one.extensions = undefined as never
          one.version = 0
        },
      },
    },
  ],
  ['the leaf has an unknown extension', { leaf: addExtension('1.2.3.4', nothing) }],
  [
    'the intermediate has critical policies',
    {
      intermediate: addExtension(
        oids.certificatePolicies,
        new asn1js.Sequence({
          value: [new asn1js.Sequence({ value: [new asn1js.ObjectIdentifier({ value: '1.2.3.4' })] })],
        }),
        true,
      ),
    },
  ],
  ['the serial number has 20 bytes', { leaf: serial(...new Array(20).fill(0x41)) }],
  ['the path is as long as the root allows', { root: { pathLength: 1 } }],
  [
    'the intermediate is there twice, once expired',
    {
      sent: async ({ leaf, intermediate, root }) =>
        [leaf, await makeIntermediate(root, before(second)), intermediate].map(derOf),
    },
  ],
  [
    'basic constraints are not critical',
    {
      intermediate: withExtension(oids.basicConstraints, (one) => {
        one.critical = false
      }),
    },
  ],
]

for (const [name, request] of good)
  test(`let in, though different: ${name}`, async () => {
    assert.equal(judgeChain(await makeChain(request)), 'good')
  })

test('OpenSSL accepts the certificates that we accept', { skip: needsOpenssl }, async () => {
  using directory = temporaryDirectory()
  const write = (name: string, certificates: readonly Uint8Array[]): string => {
    writeFileSync(directory.file(name), certificates.map((der) => new X509Certificate(der).toString()).join(''))
    return directory.file(name)
  }
  for (const [name, request, openssl] of good) {
    if (openssl === 'stricter') continue
    const { sent, trusted } = await makeChain(request)
    const files = [
      '-CAfile',
      write('root', trusted),
      '-untrusted',
      write('sent', sent),
      write('leaf', sent.slice(0, 1)),
    ]
    const args = ['verify', '-purpose', 'sslclient', '-attime', String(chainNow / 1000), ...files]
    assert.match(execFileSync('openssl', args, { encoding: 'utf8' }), /: OK/, name)
  }
})

test('a chain that is damaged in any place is refused without a crash, and none takes long', async () => {
  const { sent, trusted } = await makeChain({ leaf: { dns: ['a.example'], uris: ['spiffe://a/1'] } })
  const random = randomFrom(1)
  let rounds = 0
  let longestMs = 0
  for (const [which, der] of sent.entries()) {
    for (const bytes of damaged(der, random, 200)) {
      const chain = sent.with(which, bytes)
      let verdict = ''
      const tookMs = processorMs(() => {
        verdict = judgeChain({ sent: chain, trusted })
      })
      assert.notEqual(verdict, 'good', `round ${rounds}`)
      longestMs = Math.max(longestMs, tookMs)
      rounds++
    }
  }
  assert.ok(rounds > 2000, `${rounds} rounds`)
  assert.ok(longestMs < 1000, `${longestMs} ms of processor time for one`)
})
