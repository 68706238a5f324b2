import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import * as asn1js from 'asn1js'
import { damaged } from '../../../test/harness/damage.ts'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { randomFrom } from '../../../test/harness/random.ts'
import { type Certificate, parseCertificate } from '../certificate.ts'
import { pemBlocks, pemCertificates } from '../pem.ts'
import { type Issued, issue } from '../pki.ts'
import { type CrlRequest, issueCrl } from '../pki-crl.ts'
import { parseCrl, serialKey } from './crl.ts'
import { type CrlRule, readCrls, revocationOf } from './crls.ts'

const now = Date.UTC(2026, 5, 1)
const hour = 3_600_000
const validity = { notBefore: new Date(now - 24 * hour), notAfter: new Date(now + 24 * hour) }
const strict: CrlRule = { unavailable: undefined, graceMs: 0 }

const ca = await issue({ commonName: 'CA', ca: true, ...validity })
const leaf = certificateOf(await issue({ commonName: 'node', usages: ['client'], ...validity }, ca))
const other = certificateOf(await issue({ commonName: 'other', usages: ['client'], ...validity }, ca))
const caCertificate = certificateOf(ca)

function certificateOf({ certificatePem }: Issued): Certificate {
  return parseCertificate(pemCertificates(certificatePem)[0] as Uint8Array)
}

function list(changes: Partial<CrlRequest> = {}, issuer = ca): Promise<string> {
  return issueCrl(
    {
      revoked: [{ serial: leaf.serial, at: new Date(now - hour), reason: 1 }],
      number: 5n,
      thisUpdate: new Date(now - hour),
      nextUpdate: new Date(now + hour),
      ...changes,
    },
    issuer,
  )
}

async function read(
  pem: string | Uint8Array,
  options: Partial<Parameters<typeof readCrls>[2]> = {},
  cas = [caCertificate],
): ReturnType<typeof readCrls> {
  using directory = temporaryDirectory()
  const path = directory.file('list.crl')
  writeFileSync(path, pem)
  return await readCrls({ flag: '--ssl-client-crl', path }, cas, { now, ...options })
}

async function verdict(
  certificate: Certificate,
  changes: Partial<CrlRequest> = {},
  rule: CrlRule = strict,
  at = now,
): Promise<string> {
  const { crls } = await read(await list(changes))
  return revocationOf(crls, () => rule).check(certificate, caCertificate, at)?.reason ?? 'good'
}

test('a listed certificate is revoked, another of the CA is good, in PEM and DER, in a file and a folder', async () => {
  assert.equal(await verdict(leaf), 'revoked-by-crl')
  assert.equal(await verdict(other), 'good')
  assert.equal(await verdict(leaf, { revoked: [] }), 'good')
  const pem = await list()
  const [der] = pemBlocks(pem, 'X509 CRL')
  assert.equal((await read(der as Uint8Array)).crls[0]?.number, 5n)
  using directory = temporaryDirectory()
  mkdirSync(directory.file('lists'))
  writeFileSync(directory.file('lists/a.pem'), pem)
  writeFileSync(directory.file('lists/b.der'), der as Uint8Array)
  writeFileSync(directory.file('lists/.hidden'), 'nothing')
  const folder = { flag: '--ssl-client-crl', path: directory.file('lists') }
  assert.equal((await readCrls(folder, [caCertificate], { now })).crls.length, 2)
})

test('a certificate that was on hold and is removed from the list is good', async () => {
  const entry = { serial: leaf.serial, at: new Date(now - hour) }
  assert.equal(await verdict(leaf, { revoked: [{ ...entry, reason: 6 }] }), 'revoked-by-crl')
  assert.equal(await verdict(leaf, { revoked: [{ ...entry, reason: 8 }] }), 'good')
})

test('an outdated list only tells which certificates were revoked; for the others the rule of the CA decides', async () => {
  const late = now + 2 * hour
  assert.equal(await verdict(other, {}, strict, late), 'revocation-unknown')
  assert.equal(await verdict(leaf, {}, strict, late), 'revoked-by-crl')
  assert.equal(await verdict(other, {}, { unavailable: 'allow', graceMs: 0 }, late), 'good')
  assert.equal(await verdict(leaf, {}, { unavailable: 'allow', graceMs: 0 }, late), 'revoked-by-crl')
  assert.equal(await verdict(other, {}, { unavailable: undefined, graceMs: 2 * hour }, late), 'good')
  const future = { thisUpdate: new Date(now + hour), nextUpdate: new Date(now + 2 * hour) }
  assert.equal(await verdict(other, future), 'revocation-unknown')
})

test('a CA that no list was ever given for does not need one, unless its rule says so', async () => {
  const foreign = await issue({ commonName: 'Another CA', ca: true, ...validity })
  const stranger = certificateOf(await issue({ commonName: 'stranger', ...validity }, foreign))
  const { crls } = await read(await list())
  const ask = (rule: CrlRule) => revocationOf(crls, () => rule).check(stranger, certificateOf(foreign), now)?.reason
  assert.equal(ask(strict), undefined)
  assert.equal(ask({ unavailable: 'deny', graceMs: 0 }), 'revocation-unknown')
})

test('a CA with two keys needs a list signed by each', async () => {
  const renewed = await issue({ commonName: 'CA', ca: true, ...validity })
  const successor = certificateOf(renewed)
  const both = [caCertificate, successor]
  const newLeaf = certificateOf(await issue({ commonName: 'new', ...validity }, renewed))
  const one = revocationOf((await read(await list(), {}, both)).crls, () => strict)
  assert.equal(one.check(other, caCertificate, now), undefined)
  assert.equal(one.check(newLeaf, successor, now)?.reason, 'revocation-unknown')
  const second = await list({ revoked: [], number: 1n }, renewed)
  const two = revocationOf((await read(`${await list()}${second}`, {}, both)).crls, () => strict)
  assert.equal(two.check(newLeaf, successor, now), undefined)
  assert.equal(two.check(leaf, caCertificate, now)?.reason, 'revoked-by-crl')
})

test('of several lists of one key the newest counts, and an older one does not replace the one in use', async () => {
  const older = await list({ number: 4n, revoked: [] })
  const { crls } = await read(`${older}${await list()}`)
  assert.equal(revocationOf(crls, () => strict).check(leaf, caCertificate, now)?.reason, 'revoked-by-crl')
  await assert.rejects(read(older, { previous: crls }), /older than the one in use \(number 4, not 5\)/)
  assert.equal((await read(await list({ number: 6n }), { previous: crls })).crls.length, 1)
})

test('lists without a number are ordered by their dates, as are two of which one has none', async () => {
  const made = (hoursAgo: number, number?: bigint) =>
    list({ number, thisUpdate: new Date(now - hoursAgo * hour), ...(hoursAgo === 2 ? { revoked: [] } : {}) })
  for (const number of [undefined, 7n]) {
    const { crls } = await read(`${await made(1)}${await made(2, number)}`)
    assert.equal(revocationOf(crls, () => strict).check(leaf, caCertificate, now)?.reason, 'revoked-by-crl')
    await assert.rejects(
      read(await made(2, number), { previous: crls.slice(0, 1) }),
      /older than the one in use \(20.*, not 20/,
    )
    assert.equal((await read(await made(0, number), { previous: crls.slice(0, 1) })).crls.length, 1)
  }
})

test('lists of one second are in one order, whichever is read first: by number, then by how much they revoke', async () => {
  const at = { thisUpdate: new Date(now - hour) }
  const lists = [
    await list({ ...at, number: undefined, revoked: [] }),
    await list({ ...at, number: undefined }),
    await list({ ...at, number: 1n, revoked: [] }),
    await list({ ...at, number: 2n, revoked: [] }),
  ]
  for (const [index, one] of lists.entries()) {
    const { crls } = await read(one)
    for (const older of lists.slice(0, index))
      await assert.rejects(read(older, { previous: crls }), /is older than the one in use \((number|0 certificates)/)
    for (const newer of lists.slice(index)) assert.equal((await read(newer, { previous: crls })).crls.length, 1)
  }
  const revokes = async (text: string): Promise<boolean> =>
    revocationOf((await read(text)).crls, () => strict).check(leaf, caCertificate, now)?.reason === 'revoked-by-crl'
  assert.equal(await revokes(`${lists[0]}${lists[1]}`), true)
  assert.equal(await revokes(`${lists[1]}${lists[0]}`), true)
})

test('a folder of lists with another file says which one is no list', async () => {
  await assert.rejects(
    read('These are the lists of our CA.\n'),
    /is not a revocation list \(PEM or DER\): a folder of lists/,
  )
})

test('what is no complete list of a known CA is refused with the reason', async () => {
  const der = (block: { toBER(): ArrayBuffer }): ArrayBuffer => block.toBER()
  const flags = (tag: number): ArrayBuffer =>
    der(
      new asn1js.Sequence({
        value: [
          new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: tag }, valueHex: new Uint8Array([255]).buffer }),
        ],
      }),
    )
  const withExtension = (oid: string, critical: boolean, value: ArrayBuffer): Promise<string> =>
    list({ extensions: [{ oid, critical, der: value }] })
  const refused = async (pem: string | Promise<string>, why: RegExp): Promise<void> => {
    const text = await pem
    await assert.rejects(read(text), why)
  }
  await refused(withExtension('2.5.29.27', true, der(new asn1js.Integer({ value: 1 }))), /is a delta list/)
  await refused(withExtension('2.5.29.28', true, flags(4)), /is an indirect list/)
  await refused(withExtension('2.5.29.28', true, flags(1)), /covers only some certificates/)
  await refused(withExtension('1.2.3.4', true, der(new asn1js.Null())), /critical extension 2a0304 is not supported/)
  const { nextUpdate: _, ...endless } = { revoked: [], number: 1n, thisUpdate: new Date(now), nextUpdate: undefined }
  await refused(issueCrl(endless, ca), /does not say when the next one is due/)
  const impostor = await issue({ commonName: 'CA', ca: true, ...validity })
  await refused(list({}, impostor), /that CA has not signed it/)
  const mute = await issue({ commonName: 'Mute CA', ca: true, keyUsage: 0x04, ...validity })
  const pem = await list({}, mute)
  await assert.rejects(read(pem, {}, [certificateOf(mute)]), /may not sign lists \(key usage cRLSign\)/)
  await refused(ca.certificatePem, /holds no revocation list/)
  await refused('', /cannot be used/)
  await refused((await list()).replace('-----END X509 CRL-----', ''), /cut off or damaged/)
})

test('lists of other CAs are a warning beside one that is of use, and an error alone; a late one is a warning', async () => {
  const foreign = await issue({ commonName: 'Another CA', ca: true, ...validity })
  const pem = await list({}, foreign)
  assert.match((await read(`${pem}${await list()}`)).warnings[0] ?? '', /Another CA is not among the client CAs/)
  await assert.rejects(read(pem), /no revocation list in .* is of a client CA/)
  const { crls } = await read(await list())
  const both = [caCertificate, certificateOf(foreign)]
  await assert.rejects(read(pem, { previous: crls }, both), /there is no list of CA any more/)
  const late = await read(await list({ nextUpdate: new Date(now - 1000) }))
  assert.match(late.warnings[0] ?? '', /should have been replaced/)
})

test('whatever happens to the bytes of a list, reading it ends, and what it says is not believed', async () => {
  const [der = new Uint8Array()] = pemBlocks(await list(), 'X509 CRL')
  let read = 0
  for (const bytes of damaged(der, randomFrom(1), 1000)) {
    try {
      const crl = await parseCrl(bytes)
      read++
      const { check } = revocationOf([crl], () => ({ unavailable: 'deny', graceMs: 0 }))
      // Without a valid signature a list says nothing, so no certificate is good by it.
      assert.notEqual(check(other, caCertificate, now), undefined)
    } catch (error) {
      assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error))
    }
  }
  assert.ok(read > 100, `${read} mutations could be read`)
})

test('serial numbers are the same number with and without leading zeros', () => {
  assert.equal(serialKey('00ab'), serialKey('AB'))
  assert.notEqual(serialKey('ab00'), serialKey('AB'))
})
