import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { TestCa, validFor } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { issue } from '../identity/pki.ts'
import { Checklist, checkClientFiles, checkServerFiles, type Link, type OfflineFiles } from './tls-check.ts'

/** Prepared faults: the first broken link is named, with what would help. */
const day = 86_400_000

test('of the files of a client the first broken link is named, and of good ones none', async () => {
  using directory = temporaryDirectory()
  const { path, file } = directory
  const ca = await TestCa.create(path)
  const other = await TestCa.create(path, 'other')
  const intermediate = await issue({ commonName: 'site', organization: 'Org', ca: true, ...validFor(1) }, ca.issued)
  const now = Date.now()
  const good = await ca.issue('good', { ...validFor(30), organization: 'Hospital A' })
  await ca.issue('soon', validFor(2))
  const made = async (name: string, ...options: [Parameters<TestCa['issue']>[1]?]): Promise<string> =>
    (await ca.issue(name, { ...validFor(30), ...options[0] })).certfile
  const write = (name: string, text: string): string => {
    writeFileSync(file(name), text)
    return file(name)
  }
  const below = await issue({ commonName: 'below', usages: ['client'], ...validFor(30) }, intermediate)
  const past = { notBefore: new Date(now - 3 * day), notAfter: new Date(now - day) }
  const expired = await issue({ commonName: 'ca of the test', ca: true, ...past })
  const future = { notBefore: new Date(now + day), notAfter: new Date(now + 3 * day) }
  const revoked = await ca.issue('revoked', validFor(30))

  const cases: [
    name: string,
    files: Partial<Record<'cert' | 'key' | 'ca' | 'crl', string>>,
    link: Link | '',
    said: RegExp,
  ][] = [
    ['good', {}, '', /Its identity is 'good' of 'Hospital A'/],
    ['good without a CA', { ca: '' }, '', /Its identity is 'good' of 'Hospital A'/],
    ['soon', { cert: file('soon.pem'), key: file('soon.key') }, '', /renew it soon/],
    ['no file', { cert: file('nothing.pem') }, 'file', /does not point to a file/],
    ['empty', { cert: write('empty.pem', ' ') }, 'file', /is empty/],
    ['not PEM', { cert: write('text.pem', 'hello') }, 'file', /is not a PEM file/],
    ['a key', { cert: file('good.key') }, 'file', /holds a private key where a certificate belongs/],
    ['damaged', { cert: write('cut.pem', good.issued.certificatePem.slice(0, 200)) }, 'file', /cut off or damaged/],
    ['another key', { key: file('soon.key') }, 'file', /does not belong to the certificate/],
    ['a certificate as key', { key: file('good.pem') }, 'file', /holds a certificate where a private key belongs/],
    ['expired', { cert: await made('old', past), key: file('old.key') }, 'dates', /has expired on .*: renew it/],
    [
      'of the future',
      { cert: await made('new', future), key: file('new.key') },
      'dates',
      /is the clock of this machine right/,
    ],
    ['foreign CA', { ca: other.certfile }, 'chain', /not signed by a CA that this SuperLink trusts/],
    [
      'no intermediate',
      { cert: write('below.pem', below.certificatePem), key: write('below.key', below.keyPem) },
      'chain',
      /append the intermediate|append its certificate/,
    ],
    [
      'expired CA',
      { ca: write('past.crt', expired.certificatePem) },
      'dates',
      /the CA CN=ca of the test .* has expired/,
    ],
    ['no CA in the CA file', { ca: file('good.pem') }, 'file', /holds no CA certificate/],
    [
      'for servers',
      { cert: await made('s', { usages: ['server'] }), key: file('s.key') },
      'usage',
      /lacks extended key usage clientAuth/,
    ],
    [
      'no signatures',
      { cert: await made('u', { keyUsage: 0x20 }), key: file('u.key') },
      'usage',
      /lacks key usage digitalSignature/,
    ],
    ['a CA', { cert: ca.certfile, key: write('ca.key', ca.issued.keyPem) }, 'usage', /A CA certificate was presented/],
    [
      'two URIs',
      { cert: await made('two', { uris: ['spiffe://a/1', 'spiffe://a/2'] }), key: file('two.key') },
      'name',
      /more than one identity/,
    ],
    ['no name', { cert: await made('none', { commonName: '' }), key: file('none.key') }, 'name', /has no usable name/],
    [
      'unknown limit',
      { cert: await made('crit', { criticalExtension: '1.2.3.4' }), key: file('crit.key') },
      'chain',
      /extension 1\.2\.3\.4/,
    ],
    [
      'revoked',
      { cert: file('revoked.pem'), key: file('revoked.key'), crl: write('a.crl', await ca.crl([revoked.issued], 1)) },
      'revocation',
      /has been revoked \(serial/,
    ],
    ['old list', { crl: write('old.crl', await ca.crl([], 1, -1000)) }, 'revocation', /was to be replaced/],
    [
      'list of another CA',
      { crl: write('other.crl', await other.crl([], 1)) },
      'revocation',
      /no revocation list in .* is of a client CA/,
    ],
    ['no list', { crl: file('good.pem') }, 'revocation', /holds no revocation list/],
  ]
  for (const [
    name,
    { cert = good.certfile, key = file('good.key'), ca: authority = ca.certfile, crl },
    link,
    said,
  ] of cases) {
    const flag = (text: string, value: string) => (value === '' ? undefined : { flag: text, path: value })
    const files: OfflineFiles = {
      certfile: { flag: '--certfile', path: cert },
      keyfile: flag('--keyfile', key),
      ca: flag('--ca', authority),
      crl: flag('--crl', crl ?? ''),
    }
    const list = new Checklist()
    await checkClientFiles(list, files, Date.now())
    const broken = list.steps.find(({ outcome }) => outcome === 'broken')
    assert.equal(broken?.link ?? '', link, `${name}: ${JSON.stringify(list.steps)}`)
    assert.match(list.steps.map(({ detail }) => detail).join('\n'), said, name)
    assert.equal(list.isBroken, link !== '', `${name}: nothing is looked at after what is broken`)
  }
})

test('of the files of a SuperLink the first broken link is named', async () => {
  using directory = temporaryDirectory()
  const { path, file } = directory
  const ca = await TestCa.create(path)
  const other = await TestCa.create(path, 'other')
  await ca.server()
  await ca.issue('client')
  await ca.issue('nameless', { usages: ['server'] })
  const past = await issue({ commonName: 'past', ca: true, notBefore: new Date(0), notAfter: new Date(day) })
  const below = await issue({ dns: ['localhost'], usages: ['server'], ...validFor(30) }, past)
  writeFileSync(file('past.crt'), past.certificatePem)
  writeFileSync(file('below.pem'), below.certificatePem)
  writeFileSync(file('below.key'), below.keyPem, { mode: 0o600 })
  await ca.issue('old', { usages: ['server'], notBefore: new Date(0), notAfter: new Date(day) })
  const cases: [name: string, ca: string, link: Link | '', said: RegExp][] = [
    ['server', ca.certfile, '', /reach it as localhost, 127\.0\.0\.1/],
    ['server', other.certfile, 'chain', /clients that trust that CA will not connect/],
    ['client', ca.certfile, 'usage', /lacks extended key usage serverAuth/],
    ['nameless', ca.certfile, 'name', /no host name or address/],
    ['old', ca.certfile, 'dates', /has expired/],
    [
      'below',
      file('past.crt'),
      'dates',
      /the CA CN=past in .*past\.crt has expired .*: certificates of it are rejected/,
    ],
  ]
  for (const [name, authority, link, said] of cases) {
    const list = new Checklist()
    const files: OfflineFiles = {
      certfile: { flag: '--certfile', path: file(`${name}.pem`) },
      keyfile: { flag: '--keyfile', path: file(`${name}.key`) },
      ca: { flag: '--ca', path: authority },
      crl: undefined,
    }
    await checkServerFiles(list, files, Date.now())
    assert.equal(list.steps.find(({ outcome }) => outcome === 'broken')?.link ?? '', link, JSON.stringify(list.steps))
    assert.match(list.steps.map(({ detail }) => detail).join('\n'), said, name)
  }
})
