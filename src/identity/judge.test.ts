import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { parseCertificate } from './certificate.ts'
import { judge, noRevocation } from './judge.ts'
import { pemCertificates } from './pem.ts'
import { type CertificateRequest, type Issued, issue } from './pki.ts'
import { caKey, defaultPolicy, type Policy } from './policy.ts'
import { toTrustBundle } from './trust.ts'

const now = Date.parse('2026-11-24T12:00:00Z')
const day = 86_400_000
const valid = { notBefore: new Date(now - day), notAfter: new Date(now + day) }
const der = (issued: Issued) => pemCertificates(issued.certificatePem)[0] as Uint8Array

let ca: Issued
let foreign: Issued
let intermediate: Issued
const leaf = (request: Partial<CertificateRequest> = {}, issuer = ca) =>
  issue({ commonName: 'node-1', organization: 'Hospital A', usages: ['client'], ...valid, ...request }, issuer)

before(async () => {
  ca = await issue({ commonName: 'Fleet CA', organization: 'Fleet', ca: true, ...valid })
  foreign = await issue({ commonName: 'Other CA', ca: true, ...valid })
  intermediate = await issue({ commonName: 'Site CA', organization: 'Fleet', ca: true, pathLength: 0, ...valid }, ca)
})

function decide(
  chain: readonly Issued[],
  options: { at?: number; policy?: Policy; trust?: readonly Issued[]; required?: boolean } = {},
) {
  return judge({
    chain: chain.map(der),
    trust: toTrustBundle((options.trust ?? [ca]).map((one) => parseCertificate(der(one)))),
    revocation: noRevocation,
    policy: options.policy ?? defaultPolicy,
    now: options.at ?? now,
    requireCertificate: options.required ?? true,
  })
}

function reasonOf(peer: ReturnType<typeof decide>): string {
  return peer.kind === 'refused' ? peer.reason : `${peer.kind}${peer.kind === 'certificate' ? ` ${peer.identity}` : ''}`
}

const crl = { unavailable: undefined, graceMs: 0 }

test('a certificate of the client CA is let in under its name', async () => {
  const peer = decide([await leaf()])
  assert.ok(peer.kind === 'certificate')
  assert.deepEqual([peer.identity, peer.organization, [...peer.roles]], ['node-1', 'Hospital A', ['supernode', 'cli']])
  assert.equal(peer.notAfter, now + day)
})

test('organisational units of the form key=value are tags, and the policy says whether others count', async () => {
  const units = ['region=eu', 'Research', 'gpu=a100=2', 'region=us', '=x', '__proto__=x']
  const chain = [await leaf({ units })]
  const peer = decide(chain)
  assert.ok(peer.kind === 'certificate')
  assert.deepEqual(peer.tags, { region: 'eu', gpu: 'a100=2' })
  assert.equal(peer.allowsOwnTags, true)
  const strict = decide(chain, { policy: { ...defaultPolicy, nodeTags: 'certificate' } })
  assert.ok(strict.kind === 'certificate' && strict.allowsOwnTags === false)
})

test('a peer without a certificate is refused unless keys are allowed', () => {
  assert.equal(reasonOf(decide([])), 'no-certificate')
  assert.equal(reasonOf(decide([], { required: false })), 'anonymous')
})

test('each deviation has its own reason', async () => {
  const cases: readonly (readonly [string, readonly Issued[], Parameters<typeof decide>[1]?])[] = [
    ['unknown-ca', [await leaf({}, foreign)]],
    ['unknown-ca', [await issue({ commonName: 'self', ...valid })]],
    [
      'unknown-ca',
      [await leaf({}, await issue({ commonName: 'Fleet CA', organization: 'Fleet', ca: true, ...valid }))],
    ],
    ['missing-intermediate', [await leaf({}, intermediate)]],
    ['certificate-expired', [await leaf()], { at: now + 2 * day }],
    ['certificate-not-yet-valid', [await leaf()], { at: now - 2 * day }],
    ['ca-used-as-client', [ca]],
    ['wrong-key-usage', [await leaf({ keyUsage: 0x20 })]],
    ['wrong-extended-key-usage', [await leaf({ usages: ['server'] })]],
    ['no-identity', [await issue({ organization: 'O', ...valid }, ca)]],
    ['no-identity', [await leaf({ commonName: 'a\nb' })]],
    ['ambiguous-identity', [await leaf({ uris: ['spiffe://a/1', 'spiffe://a/2'] })]],
    ['invalid-chain', [await leaf({ criticalExtension: '1.2.3.4' })]],
  ]
  for (const [reason, chain, options] of cases) assert.equal(reasonOf(decide(chain, options)), reason)
})

test('an intermediate works when the peer sends it or the operator has it, within its path length', async () => {
  const member = await leaf({}, intermediate)
  assert.equal(reasonOf(decide([member, intermediate])), 'certificate node-1')
  assert.equal(reasonOf(decide([member], { trust: [ca, intermediate] })), 'certificate node-1')
  assert.equal(
    reasonOf(decide([member], { trust: [intermediate] })),
    'certificate node-1',
    'an intermediate alone may be trusted',
  )

  const deeper = await issue({ commonName: 'Deeper CA', ca: true, ...valid }, intermediate)
  assert.equal(reasonOf(decide([await leaf({}, deeper), deeper, intermediate])), 'invalid-chain')
  const notCa = await leaf()
  assert.equal(reasonOf(decide([await leaf({}, notCa), notCa])), 'unknown-ca')
  const mayNotSign = await issue({ commonName: 'Odd CA', ca: true, keyUsage: 0x80, ...valid }, ca)
  assert.equal(reasonOf(decide([await leaf({}, mayNotSign), mayNotSign])), 'invalid-chain')
})

test('during a rotation two CAs of one name are both tried', async () => {
  const next = await issue({ commonName: 'Fleet CA', organization: 'Fleet', ca: true, ...valid })
  assert.equal(reasonOf(decide([await leaf({}, next)], { trust: [ca, next] })), 'certificate node-1')
  assert.equal(reasonOf(decide([await leaf()], { trust: [next, ca] })), 'certificate node-1')
})

test('a spiffe URI comes before the common name, and a single DNS name after it', async () => {
  assert.equal(
    reasonOf(decide([await leaf({ uris: ['spiffe://fl/supernode/1'] })])),
    'certificate spiffe://fl/supernode/1',
  )
  const dnsOnly = await issue({ dns: ['edge.example'], ...valid }, ca)
  assert.equal(reasonOf(decide([dnsOnly])), 'certificate edge.example')
})

test('a policy narrows roles, and what a CA may vouch for', async () => {
  const policy: Policy = {
    ...defaultPolicy,
    allow: [{ identity: 'node-*', organization: undefined, roles: ['supernode'], runs: 'own' }],
    cas: [{ cas: new Set([caKey(parseCertificate(der(ca)))]), file: 'ca.crt', organizations: ['Hospital A'], crl }],
  }
  const peer = decide([await leaf()], { policy })
  assert.deepEqual(peer.kind === 'certificate' && [...peer.roles], ['supernode'])
  const other = decide([await leaf({ commonName: 'alice' })], { policy })
  assert.deepEqual(other.kind === 'certificate' && [...other.roles], [])
  assert.equal(reasonOf(decide([await leaf({ organization: 'Hospital B' })], { policy })), 'organization-not-allowed')
})

test('the organisation is part of the identity where CAs are limited to organisations, and only there', async () => {
  const rule = { cas: new Set([caKey(parseCertificate(der(ca)))]), file: 'ca.crt', organizations: undefined, crl }
  const organizationUnder = async (policy: Policy): Promise<string | undefined> => {
    const peer = decide([await leaf({ organization: 'Hospital A' })], { policy })
    assert.ok(peer.kind === 'certificate')
    return peer.identityOrganization
  }
  assert.equal(await organizationUnder(defaultPolicy), undefined)
  assert.equal(await organizationUnder({ ...defaultPolicy, cas: [rule] }), undefined, 'a rule about lists alone')
  const limited = { ...rule, organizations: ['Hospital A'] }
  assert.equal(await organizationUnder({ ...defaultPolicy, cas: [limited] }), 'Hospital A')
})

test('a limited CA vouches for no peer outside its limits', async () => {
  const limited = (request: Partial<CertificateRequest>) =>
    issue({ commonName: 'Limited CA', ca: true, ...valid, ...request }, ca)
  for (const [request, about] of [
    [{ usages: ['server'] }, /Limited CA may not vouch for clients/],
    [{ criticalExtension: '2.5.29.36' }, /Limited CA has extension 2\.5\.29\.36, which is not supported/],
    [{ notAfter: new Date(now - 1000), notBefore: new Date(now - day) }, /Limited CA has expired on 2026-11-24/],
    [{ notBefore: new Date(now + 1000) }, /Limited CA is not valid yet, but from/],
  ] as const) {
    const issuer = await limited(request as Partial<CertificateRequest>)
    const peer = decide([await leaf({}, issuer), issuer])
    assert.ok(peer.kind === 'refused')
    assert.equal(peer.reason, 'invalid-chain')
    assert.match(peer.sentence, about)
  }
  const forClients = await limited({ usages: ['client'] })
  assert.equal(reasonOf(decide([await leaf({}, forClients), forClients])), 'certificate node-1')
})

test('an expired CA lets no peer in, even if the certificate of the peer is valid', async () => {
  const past = await issue({ commonName: 'Past CA', ca: true, notBefore: valid.notBefore, notAfter: new Date(now - 1) })
  assert.equal(reasonOf(decide([await leaf({}, past)], { trust: [past] })), 'invalid-chain')
})

test('a role that the policy does not grant is refused where the listener has one role', async () => {
  const policy: Policy = {
    ...defaultPolicy,
    allow: [{ identity: 'node-*', organization: undefined, roles: ['supernode'], runs: 'own' }],
  }
  const as = async (commonName: string, role: 'supernode' | 'cli') =>
    judge({
      chain: [der(await leaf({ commonName }))],
      trust: toTrustBundle([parseCertificate(der(ca))]),
      ...{ revocation: noRevocation, policy, now, requireCertificate: true, role },
    })
  assert.equal(reasonOf(await as('node-1', 'supernode')), 'certificate node-1')
  const refused = await as('node-1', 'cli')
  assert.ok(refused.kind === 'refused')
  assert.deepEqual([refused.reason, refused.identity], ['role-not-granted', 'node-1'])
  assert.match(refused.sentence, /\(node-1 as cli\): add an \[\[allow\]\] entry/)
  assert.equal(reasonOf(await as('alice', 'supernode')), 'role-not-granted')
})

test('what is known to be revoked is refused, and so is what cannot be told, anywhere on the path', async () => {
  const member = await leaf({}, intermediate)
  const revoked = parseCertificate(der(intermediate)).serial
  for (const reason of ['revoked-by-crl', 'revoked-by-ocsp', 'revocation-unknown'] as const) {
    const peer = judge({
      chain: [member, intermediate].map(der),
      trust: toTrustBundle([parseCertificate(der(ca))]),
      revocation: {
        check: ({ serial }, issuer) =>
          serial === revoked && issuer.subject.text.startsWith('CN=Fleet CA') ? { reason, about: 'x' } : undefined,
      },
      ...{ policy: defaultPolicy, now, requireCertificate: true },
    })
    assert.equal(reasonOf(peer), reason)
  }
})

test('a renewed CA stays under its rule in the policy', async () => {
  const renewed = parseCertificate(der(ca))
  const rule = { cas: new Set([caKey(renewed)]), file: 'ca.crt', organizations: ['Hospital B'], crl }
  assert.equal(
    reasonOf(decide([await leaf()], { policy: { ...defaultPolicy, cas: [rule] } })),
    'organization-not-allowed',
  )
  const other = { ...rule, cas: new Set([caKey(parseCertificate(der(foreign)))]) }
  assert.equal(reasonOf(decide([await leaf()], { policy: { ...defaultPolicy, cas: [other] } })), 'certificate node-1')
})

test('the words of a refused peer cannot forge lines of a log', async () => {
  const peer = decide([await leaf({ commonName: 'x\nINFO : all is well \u202e', organization: 'a\u001b[2J' }, foreign)])
  assert.ok(peer.kind === 'refused')
  assert.equal(peer.identity, 'x\ufffdINFO : all is well \ufffd')
  assert.equal(peer.organization, 'a\ufffd[2J')
  const longName = decide([await leaf({}, await issue({ commonName: `y\n${'z'.repeat(5000)}`, ca: true, ...valid }))])
  assert.ok(longName.kind === 'refused')
  assert.doesNotMatch(longName.sentence, /\n/)
  assert.ok(longName.sentence.length < 600)
})

test('names that look like others, or like nothing, are no identity', async () => {
  const hidden = [
    '\u0000',
    '\u202e',
    '\u200b',
    '\u200d',
    '\u00ad',
    '\ufeff',
    '\u{e0041}',
    '\ufe0f',
    '\u3164',
    '\u034f',
    '\u2800',
  ]
  const spaces = ['\u00a0', '\u2003', '\u3000', '\t', '\u2028', '\u0085']
  const unknown = ['\ue000', '\u{10fffd}', '\u0378']
  const within = [...hidden, ...spaces, ...unknown].map((char) => `a${char}b`)
  for (const commonName of ['', '   ', ' a', 'a ', 'e\u0301', ...within, 'x'.repeat(1025)])
    assert.equal(reasonOf(decide([await leaf({ commonName })])), 'no-identity', JSON.stringify(commonName.slice(0, 20)))
  for (const organization of ['a\u200bb', ' a', 'a\u00a0b'])
    assert.equal(reasonOf(decide([await leaf({ commonName: 'a', organization })])), 'no-identity', organization)
  for (const commonName of ['Universitätsklinik 3', '東京大学', 'مستشفى', 'हिन्दी'])
    assert.equal(reasonOf(decide([await leaf({ commonName })])), `certificate ${commonName}`)
  assert.equal(reasonOf(decide([await leaf({ commonName: 'Node-1' })])), 'certificate Node-1', 'case is kept')
})

test('more certificates than a chain has are refused unread', async () => {
  const member = await leaf()
  assert.equal(reasonOf(decide(new Array(9).fill(member))), 'malformed-certificate')
})

test('broken UTF-8 is not taken for another name', async () => {
  const bytes = Buffer.from(der(await leaf({ commonName: 'node-xx' })))
  bytes.set([0xe9], bytes.indexOf('node-xx') + 5)
  assert.throws(() => parseCertificate(bytes))
})

test('a certificate is let in when everything about it is right, and only then', async () => {
  const dates = {
    now: valid,
    past: { notBefore: new Date(0), notAfter: new Date(1) },
    future: { notBefore: new Date(now + 1000), notAfter: new Date(now + day) },
  }
  const issuers = { ca: [ca], foreign: [foreign], sent: [intermediate, intermediate], unsent: [intermediate] }
  const names = { cn: {}, uri: { uris: ['spiffe://a/1'] }, 'two uris': { uris: ['spiffe://a/1', 'spiffe://a/2'] } }
  const usages = {
    any: {},
    client: { usages: ['client'] },
    server: { usages: ['server'] },
    both: { usages: ['client', 'server'] },
  } as const
  const keyUsages = { any: 'none', sign: 0x80, encipher: 0x20 } as const
  let count = 0
  const seen = new Set<string>()
  for (const [date, validity] of Object.entries(dates))
    for (const [issuer, [by, ...sent]] of Object.entries(issuers))
      for (const [name, naming] of Object.entries(names))
        for (const [usage, extended] of Object.entries(usages))
          for (const [keyUsage, bits] of Object.entries(keyUsages))
            for (const isCa of [false, true]) {
              // Every fifth: all of them would take seconds.
              if (count++ % 5 !== 0) continue
              const request = { commonName: 'n', ca: isCa, keyUsage: bits, ...validity, ...naming, ...extended }
              const member = await issue(request as CertificateRequest, by)
              const isGood =
                date === 'now' &&
                issuer !== 'foreign' &&
                issuer !== 'unsent' &&
                name !== 'two uris' &&
                usage !== 'server' &&
                keyUsage !== 'encipher' &&
                !isCa
              const outcome = reasonOf(decide([member, ...sent]))
              seen.add(outcome)
              assert.equal(
                outcome.startsWith('certificate '),
                isGood,
                `${[date, issuer, name, usage, keyUsage, isCa]}: ${outcome}`,
              )
            }
  assert.ok(seen.size >= 9, [...seen].join())
})

test('garbage is refused and never thrown', () => {
  const peer = judge({
    chain: [new Uint8Array([1, 2, 3])],
    trust: toTrustBundle([]),
    revocation: noRevocation,
    policy: defaultPolicy,
    now,
    requireCertificate: true,
  })
  assert.equal(peer.kind === 'refused' && peer.reason, 'malformed-certificate')
})
