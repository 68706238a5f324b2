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
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { needsOpenssl } from '../../test/harness/openssl.ts'
import { randomFrom } from '../../test/harness/random.ts'

/** What differs and is good all the same: here nobody is stricter than the standard, or CAs made by hand would be shut out. */
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
    'strangers are sent too',
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
  ['the leaf has an extension that nobody knows', { leaf: addExtension('1.2.3.4', nothing) }],
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

test('whom we let in, OpenSSL lets in', { skip: needsOpenssl }, async () => {
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

test('ten thousand damaged chains are refused without a crash, and none takes long', async () => {
  const { sent, trusted } = await makeChain({ leaf: { dns: ['a.example'], uris: ['spiffe://a/1'] } })
  const random = randomFrom(1)
  let longestMs = 0
  for (let round = 0; round < 10_000; round++) {
    const which = random(sent.length)
    const damaged = sent.map((der, index) => (index === which ? damage(der, random) : der))
    if (damaged.every((der, index) => Buffer.compare(der, sent[index] as Uint8Array) === 0)) continue
    const startedAt = performance.now()
    assert.notEqual(judgeChain({ sent: damaged, trusted }), 'good', `round ${round}`)
    longestMs = Math.max(longestMs, performance.now() - startedAt)
  }
  assert.ok(longestMs < 1000, `${longestMs} ms for one`)
})

function damage(der: Uint8Array, random: (below: number) => number): Uint8Array {
  const copy = Buffer.from(der)
  const at = random(copy.length)
  const kind = random(4)
  if (kind === 0) return copy.subarray(0, at)
  if (kind === 1) return Buffer.concat([copy.subarray(0, at), Buffer.of(random(256)), copy.subarray(at)])
  for (let change = 0; change <= random(3); change++) copy[random(copy.length)] = random(256)
  if (kind === 3) copy[at] = random(256)
  return copy
}
