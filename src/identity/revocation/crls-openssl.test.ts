import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { needsOpenssl, OpensslCa, p256, rsa2048 } from '../../../test/harness/openssl.ts'
import { type Certificate, parseCertificate } from '../certificate.ts'
import { pemCertificates } from '../pem.ts'
import { readCrls, revocationOf } from './crls.ts'

const certificateOf = (pem: string): Certificate => parseCertificate(pemCertificates(pem)[0] as Uint8Array)

for (const [kind, key] of [
  ['RSA', rsa2048],
  ['ECDSA', p256],
] as const) {
  test(`lists that openssl makes for an ${kind} CA are read as it means them, in PEM and DER`, {
    skip: needsOpenssl,
  }, async () => {
    using directory = temporaryDirectory()
    const { file } = directory
    const ca = new OpensslCa(directory.path, 'ca', key)
    const issuer = certificateOf(ca.certificatePem)
    const issued = (name: string): Certificate =>
      certificateOf(ca.issue(name, { subject: `/CN=${name}` }).certificatePem)
    const [good, stolen, held, back] = [issued('good'), issued('stolen'), issued('held'), issued('back')]
    const pem = ca.crl({
      [stolen.serial]: 'keyCompromise',
      [held.serial]: 'certificateHold',
      [back.serial]: 'removeFromCRL',
    })
    writeFileSync(file('list.crl'), pem)
    execFileSync('openssl', ['crl', '-in', file('list.crl'), '-outform', 'DER', '-out', file('list.der')])
    for (const name of ['list.crl', 'list.der']) {
      const { crls, warnings } = await readCrls({ flag: 'CRL', path: file(name) }, [issuer], { now: Date.now() })
      assert.deepEqual(warnings, [])
      assert.equal(crls[0]?.number, 5n)
      const { check } = revocationOf(crls, () => ({ unavailable: undefined, graceMs: 0 }))
      const verdicts = [good, stolen, held, back].map((one) => check(one, issuer, Date.now())?.reason ?? 'good')
      assert.deepEqual(verdicts, ['good', 'revoked-by-crl', 'revoked-by-crl', 'good'], name)
    }
  })
}

test('delta lists, indirect ones and those of some certificates that openssl makes are refused with the reason', {
  skip: needsOpenssl,
}, async () => {
  using directory = temporaryDirectory()
  const ca = new OpensslCa(directory.path, 'ca', p256)
  const cas = [certificateOf(ca.certificatePem)]
  const path = directory.file('list.crl')
  const refused = async (extension: string, why: RegExp): Promise<void> => {
    writeFileSync(path, ca.crl({}, [extension]))
    await assert.rejects(readCrls({ flag: 'CRL', path }, cas, { now: Date.now() }), why)
  }
  await refused('2.5.29.27=critical,ASN1:INTEGER:4', /is a delta list: give the complete one/)
  await refused('issuingDistributionPoint=critical,@indirect', /is an indirect list/)
  await refused('issuingDistributionPoint=critical,@part', /covers only some certificates or reasons/)
})
