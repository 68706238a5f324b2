import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { needsOpenssl, OpensslCa, type OpensslRequest, p256, rsa2048 } from '../../test/harness/openssl.ts'
import { parseCertificate } from './certificate.ts'
import { judge, noRevocation } from './judge.ts'
import { pemCertificates } from './pem.ts'
import { defaultPolicy, type IdentitySource } from './policy.ts'
import { toTrustBundle } from './trust.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())
const der = (pem: string): Uint8Array => pemCertificates(pem)[0] as Uint8Array

function judgeIssued(ca: OpensslCa, request: OpensslRequest, source: IdentitySource = 'auto'): string {
  const peer = judge({
    chain: [der(ca.issue('peer', request).certificatePem)],
    trust: toTrustBundle([parseCertificate(der(ca.certificatePem))]),
    revocation: noRevocation,
    policy: { ...defaultPolicy, source },
    now: Date.now() + 1000,
    requireCertificate: true,
  })
  return peer.kind === 'certificate'
    ? `${peer.identity} of ${peer.organization}`
    : peer.kind === 'refused'
      ? peer.reason
      : peer.kind
}

test('certificates that openssl makes are let in: RSA, EC and Ed25519, with usages and without', {
  skip: needsOpenssl,
}, () => {
  const subject = '/O=Hospital A/CN=node-1'
  for (const [name, caKey] of [
    ['rsa-ca', rsa2048],
    ['ec-ca', p256],
  ] as const) {
    const ca = new OpensslCa(directory.path, name, caKey)
    for (const key of [
      rsa2048,
      p256,
      ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
      ['-algorithm', 'ED25519'],
    ]) {
      assert.equal(judgeIssued(ca, { subject, key }), 'node-1 of Hospital A', `${name} ${key.join(' ')}`)
    }
    for (const extensions of [
      [],
      ['keyUsage=critical,digitalSignature'],
      ['keyUsage=digitalSignature,keyEncipherment', 'extendedKeyUsage=clientAuth'],
      ['extendedKeyUsage=serverAuth,clientAuth'],
      ['extendedKeyUsage=anyExtendedKeyUsage'],
      ['basicConstraints=critical,CA:FALSE', 'certificatePolicies=critical,1.2.3.4'],
      ['subjectKeyIdentifier=hash', 'authorityKeyIdentifier=keyid,issuer'],
    ]) {
      assert.equal(judgeIssued(ca, { subject, extensions }), 'node-1 of Hospital A', extensions.join(' '))
    }
  }
})

test('certificates that openssl makes are refused for what is wrong with them', { skip: needsOpenssl }, () => {
  const ca = new OpensslCa(directory.path, 'openssl-ca', p256)
  const cases: readonly (readonly [reason: string, request: Partial<OpensslRequest>])[] = [
    ['wrong-key-usage', { extensions: ['keyUsage=critical,keyEncipherment'] }],
    ['wrong-extended-key-usage', { extensions: ['extendedKeyUsage=serverAuth'] }],
    ['ca-used-as-client', { extensions: ['basicConstraints=critical,CA:TRUE'] }],
    ['invalid-chain', { extensions: ['1.2.3.4=critical,ASN1:NULL'] }],
    ['weak-key-or-signature', { digest: 'sha1' }],
    ['weak-key-or-signature', { key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'] }],
    ['no-identity', { subject: '/O=Only' }],
    ['ambiguous-identity', { subject: '/CN=one/CN=two' }],
    ['ambiguous-identity', { subject: '/O=one/O=two/CN=peer' }],
    ['ambiguous-identity', { extensions: ['subjectAltName=URI:spiffe://a/1,URI:spiffe://a/2'] }],
    ['ambiguous-identity', { extensions: ['subjectAltName=URI:spiffe://a/1,URI:https://a/2'] }],
    ['ambiguous-identity', { subject: '/O=x', extensions: ['subjectAltName=DNS:a.example,DNS:b.example'] }],
  ]
  for (const [reason, request] of cases) {
    assert.equal(judgeIssued(ca, { subject: '/CN=peer', ...request }), reason, JSON.stringify(request))
  }
})

test('the name comes from where the policy says, in every form that openssl writes', { skip: needsOpenssl }, () => {
  const ca = new OpensslCa(directory.path, 'naming-ca', p256)
  const subject = '/C=DE/O=Klinik München/CN=Käfer, 1'
  const everything = [
    'subjectAltName=URI:spiffe://fl.example/supernode/7,DNS:edge.example,email:ops@edge.example,IP:10.0.0.7',
  ]
  const nameBy = (source: IdentitySource): string => judgeIssued(ca, { subject, extensions: everything }, source)
  const organization = 'Klinik München'
  assert.equal(nameBy('auto'), `spiffe://fl.example/supernode/7 of ${organization}`)
  assert.equal(nameBy('uri'), `spiffe://fl.example/supernode/7 of ${organization}`)
  assert.equal(nameBy('dns'), `edge.example of ${organization}`)
  assert.equal(nameBy('email'), `ops@edge.example of ${organization}`)
  assert.equal(nameBy('cn'), `Käfer, 1 of ${organization}`)
  assert.equal(nameBy('subject'), `CN=Käfer\\, 1,O=${organization},C=DE of ${organization}`)
  assert.equal(
    judgeIssued(ca, { subject: '/O=x', extensions: ['subjectAltName=DNS:edge.example'] }),
    'edge.example of x',
  )
  assert.equal(judgeIssued(ca, { subject: '/CN=n', extensions: ['subjectAltName=URI:https://a.example'] }), 'n of ')
})
