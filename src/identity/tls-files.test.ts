import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { createSecureContext } from 'node:tls'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { needsOpenssl, OpensslCa, p256 } from '../../test/harness/openssl.ts'
import { UsageError } from '../base/errors.ts'
import { pemCertificates } from './pem.ts'
import { issue } from './pki.ts'
import { checkPairGiven, type FileFlag, readAtStart, readClientTls, readServerTls } from './tls-files.ts'
import { readTrustBundle } from './trust.ts'

const directory = temporaryDirectory()
const { file } = directory
after(() => directory[Symbol.dispose]())
const day = 86_400_000

before(async () => {
  const ca = await TestCa.create(directory.path)
  const { issued } = await ca.server()
  await ca.issue('other', { usages: ['server'] })
  const now = Date.now()
  await ca.issue('expired', { notBefore: new Date(now - 2 * day), notAfter: new Date(now - day) })
  await ca.issue('early', { notBefore: new Date(now + day), notAfter: new Date(now + 2 * day) })
  const old = await issue({
    commonName: 'old',
    ca: true,
    notBefore: new Date(now - 2 * day),
    notAfter: new Date(now - day),
  })
  writeFileSync(file('old.crt'), old.certificatePem)
  writeFileSync(file('empty.pem'), '\n')
  writeFileSync(file('text.pem'), 'not a certificate')
  writeFileSync(file('binary.der'), pemCertificates(issued.certificatePem)[0] as Uint8Array)
  writeFileSync(file('damaged.pem'), issued.certificatePem.replace(/\n.{20}/, '\n????????????????????'))
  writeFileSync(file('cut.crt'), ca.issued.certificatePem + ca.issued.certificatePem.slice(0, 200))
  writeFileSync(file('nonsense.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
  writeFileSync(file('nonsense.key'), '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')
  writeFileSync(file('request.pem'), '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n')
  const key = createPrivateKey(issued.keyPem)
  const locked = (type: 'pkcs8' | 'sec1') =>
    key.export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString()
  writeFileSync(file('locked.key'), locked('pkcs8'))
  writeFileSync(file('locked-old.key'), locked('sec1'))
  writeFileSync(file('open.key'), issued.keyPem)
  chmodSync(file('open.key'), 0o644)
  writeFileSync(file('sec1.key'), key.export({ type: 'sec1', format: 'pem' }).toString(), { mode: 0o600 })
  writeFileSync(file('backwards.pem'), ca.issued.certificatePem + issued.certificatePem)
  writeFileSync(
    file('both.pem'),
    `a comment\n${issued.keyPem}another\n${issued.certificatePem}`.replaceAll('\n', '\r\n'),
    {
      mode: 0o600,
    },
  )
  mkdirSync(file('folder'))
})

const flag = (name: string, path: string): FileFlag => ({ flag: name, path: path.startsWith('/') ? path : file(path) })
const server = (certfile: string, keyfile: string, caFile = 'ca.crt') =>
  readServerTls({
    ...{ certfile: flag('--ssl-certfile', certfile), keyfile: flag('--ssl-keyfile', keyfile) },
    ...{ caFile: flag('--ssl-ca-certfile', caFile), now: Date.now() },
  })
const client = (certfile: string, keyfile: string, roots = 'ca.crt') =>
  readClientTls({
    ...{ certfile: flag('--ssl-client-certfile', certfile), keyfile: flag('--ssl-client-keyfile', keyfile) },
    ...{ roots: flag('--root-certificates', roots), now: Date.now() },
  })

function refuses(read: () => unknown, sentence: RegExp): void {
  assert.throws(
    read,
    (error) => error instanceof UsageError && sentence.test(error.message) && !/\n/.test(error.message),
    `${read} should say ${sentence}`,
  )
}

test('a file that is not what its flag needs is refused with flag, file and cause, on either side', () => {
  const wrongCertificates: readonly (readonly [name: string, sentence: string])[] = [
    ['missing.pem', '` does not point to a file: .*missing\\.pem'],
    ['folder', '` does not point to a file: .*folder'],
    ['empty.pem', ': .*empty\\.pem is empty'],
    ['text.pem', ': .*text\\.pem is not a PEM file'],
    ['binary.der', ': .*binary\\.der is not a PEM file: .*openssl x509 -inform der converts'],
    ['damaged.pem', ': a certificate in .*damaged\\.pem cannot be read \\(a certificate is cut off or damaged\\)'],
    ['nonsense.pem', ': a certificate in .*nonsense\\.pem cannot be read'],
    ['request.pem', ': .*request\\.pem holds no certificate'],
    ['server.key', ': .*server\\.key holds a private key where a certificate belongs: were the two files swapped'],
    // The size of this file is not known, and reading it from the start fails for every user.
    ['/proc/self/mem', ': /proc/self/mem cannot be read \\(EIO\\): check its permissions'],
  ]
  const wrongKeys: readonly (readonly [name: string, sentence: string])[] = [
    ['missing.key', '` does not point to a file: .*missing\\.key'],
    ['empty.pem', ': .*empty\\.pem is empty'],
    ['text.pem', ': .*text\\.pem is not a PEM file'],
    ['nonsense.key', ': the private key in .*nonsense\\.key cannot be read'],
    ['server.pem', ': .*server\\.pem holds a certificate where a private key belongs: were the two files swapped'],
    ['request.pem', ': .*request\\.pem holds no private key'],
    ['locked.key', ': the private key in .*locked\\.key is encrypted: give it without a passphrase'],
    ['locked-old.key', ': the private key in .*locked-old\\.key is encrypted'],
    ['other.key', ': the key in .*other\\.key does not belong to the certificate in .*server\\.pem'],
  ]
  for (const [name, sentence] of wrongCertificates) {
    refuses(() => server(name, 'server.key'), new RegExp(`--ssl-certfile${sentence}`))
    refuses(() => server('server.pem', 'server.key', name), new RegExp(`--ssl-ca-certfile${sentence}`))
    refuses(() => client(name, 'server.key'), new RegExp(`--ssl-client-certfile${sentence}`))
    refuses(() => client('server.pem', 'server.key', name), new RegExp(`--root-certificates${sentence}`))
    refuses(
      () => readTrustBundle(flag('--ssl-client-ca-certfile', name)),
      new RegExp(`--ssl-client-ca-certfile${sentence}`),
    )
  }
  for (const [name, sentence] of wrongKeys) {
    refuses(() => server('server.pem', name), new RegExp(`--ssl-keyfile${sentence}`))
    refuses(() => client('server.pem', name), new RegExp(`--ssl-client-keyfile${sentence}`))
  }
})

test('a chain whose first certificate is not that of the key says so', () => {
  refuses(() => server('backwards.pem', 'server.key'), /--ssl-certfile: .* is not the first one in .*backwards\.pem/)
})

test('a bundle does not lose a certificate silently, and needs a CA', () => {
  const bundle = (name: string) => readTrustBundle(flag('--ssl-client-ca-certfile', name))
  refuses(() => bundle('cut.crt'), /cut\.crt cannot be read \(certificate 2 of 2 is cut off or damaged\)/)
  refuses(() => bundle('server.pem'), /server\.pem holds no CA certificate: a CA has basicConstraints CA:TRUE/)
  assert.equal(bundle('backwards.pem').anchors.length, 1, 'other certificates in it are of no use and do no harm')
})

test('dates: a server may start and is warned, a client that would be refused anyway is not started', () => {
  assert.match(server('expired.pem', 'expired.key').warnings.join(), /--ssl-certfile: .*expired\.pem has expired \(on /)
  const oldCa = /: the CA CN=old in .*old\.crt has expired \(on .*\): /
  assert.match(
    server('server.pem', 'server.key', 'old.crt').warnings.join(),
    new RegExp(`--ssl-ca-certfile${oldCa.source}clients`),
  )
  assert.match(
    client('server.pem', 'server.key', 'old.crt').warnings.join(),
    new RegExp(`--root-certificates${oldCa.source}servers`),
  )
  assert.match(server('early.pem', 'early.key').warnings.join(), /early\.pem is not valid yet \(from /)
  refuses(
    () => client('expired.pem', 'expired.key'),
    /--ssl-client-certfile: .*expired\.pem has expired .*: have it renewed/,
  )
  refuses(() => client('early.pem', 'early.key'), /early\.pem is not valid yet \(from .*\): check the clocks\.$/)
})

test('blocks that were joined without a line end are read, and the one that cannot be is named', () => {
  const [ca, own] = ['ca.crt', 'server.pem'].map((name) => readFileSync(file(name), 'utf8').trimEnd()) as [
    string,
    string,
  ]
  writeFileSync(file('joined.crt'), `${ca}${own}${ca}`)
  const { rootsPem } = client('server.pem', 'server.key', 'joined.crt').material
  assert.equal(pemCertificates(rootsPem ?? '').length, 3)
  // OpenSSL reads it too.
  createSecureContext({ ca: rootsPem })
  writeFileSync(file('joined.pem'), `${own}${ca}`)
  assert.deepEqual(server('joined.pem', 'server.key').warnings, [])
  writeFileSync(file('second.crt'), `${ca}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`)
  refuses(() => client('server.pem', 'server.key', 'second.crt'), /certificate 2 of 2 in .*second\.crt cannot be read/)
})

test('a bundle of OpenSSL with trust settings is read', { skip: needsOpenssl }, () => {
  execFileSync('openssl', [
    'x509',
    '-in',
    file('ca.crt'),
    '-addtrust',
    'serverAuth',
    '-trustout',
    '-out',
    file('trusted.crt'),
  ])
  assert.match(readFileSync(file('trusted.crt'), 'utf8'), /BEGIN TRUSTED CERTIFICATE/)
  const { rootsPem } = client('server.pem', 'server.key', 'trusted.crt').material
  assert.deepEqual(pemCertificates(rootsPem ?? ''), pemCertificates(readFileSync(file('ca.crt'), 'utf8')))
})

test('a server is warned of a certificate that no client will accept', async () => {
  const ca = await TestCa.create(directory.path, 'uses')
  await ca.issue('client-only', { dns: ['localhost'] })
  assert.match(server('client-only.pem', 'client-only.key').warnings.join(), /client-only\.pem is not for servers/)
  await ca.issue('nameless', { usages: ['server'] })
  assert.match(server('nameless.pem', 'nameless.key').warnings.join(), /nameless\.pem names no host/)
})

test('a client is not started with a key that TLS cannot present', { skip: needsOpenssl }, () => {
  const ca = new OpensslCa(directory.path, 'curves-ca', p256)
  ca.issue('koblitz', { subject: '/CN=node', key: ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:secp256k1'] })
  chmodSync(file('koblitz.key'), 0o600)
  refuses(() => client('koblitz.pem', 'koblitz.key'), /on the curve secp256k1, which a TLS client cannot present/)
})

test('a key that every user can read is a warning, one of its owner or group is not', () => {
  assert.match(server('server.pem', 'open.key').warnings.join(), /everybody .* can read .*open\.key: chmod 600 it/)
  assert.match(client('server.pem', 'open.key').warnings.join(), /--ssl-client-keyfile: everybody/)
  assert.deepEqual(server('server.pem', 'server.key').warnings, [])
  chmodSync(file('server.key'), 0o640)
  assert.deepEqual(server('server.pem', 'server.key').warnings, [])
})

test('certificate and key may be one file given twice, with comments, in any order, with any line ends', () => {
  assert.deepEqual(client('both.pem', 'both.pem').warnings, [])
  assert.ok(client('both.pem', 'both.pem').material.certificate?.keyPem.startsWith('-----BEGIN PRIVATE KEY-----'))
  assert.ok(server('server.pem', 'sec1.key').material.certificate)
})

test('half a pair is refused with the flag that is missing', () => {
  const names = { certfile: '--cert', keyfile: '--key' }
  refuses(
    () => checkPairGiven(flag('--cert', 'server.pem'), undefined, names),
    /--cert needs --key: give both or neither/,
  )
  refuses(
    () => checkPairGiven(undefined, flag('--key', 'server.key'), names),
    /--key needs --cert: give both or neither/,
  )
  checkPairGiven(undefined, undefined, names)
})

test('a key that TLS itself would refuse is refused before', { skip: needsOpenssl }, () => {
  const ca = new OpensslCa(directory.path, 'openssl-ca', p256)
  const weak = ca.issue('weak', { subject: '/CN=weak', key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'] })
  assert.ok(weak.keyPem)
  chmodSync(file('weak.key'), 0o600)
  const sentence = /weak\.pem cannot be used for TLS \(its rsa key has 1024 bits\): have one issued for an EC key/
  refuses(() => server('weak.pem', 'weak.key'), sentence)
  refuses(() => client('weak.pem', 'weak.key'), sentence)
  ca.issue('strong', {
    subject: '/CN=strong',
    key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
    extensions: ['subjectAltName=DNS:localhost'],
  })
  chmodSync(file('strong.key'), 0o600)
  assert.deepEqual(server('strong.pem', 'strong.key').warnings, [])
})

test('no sentence shows a secret', () => {
  const key = readFileSync(file('server.key'), 'utf8').split('\n')[1] as string
  for (const read of [() => server('server.key', 'server.pem'), () => client('server.pem', 'other.key')]) {
    assert.throws(read, (error) => error instanceof UsageError && !error.message.includes(key))
  }
})

test('a pair that is being replaced when a program starts is read again until all of it is there', () => {
  const certfile = { flag: '--cert', path: file('other.pem') }
  const keyfile = { flag: '--key', path: file('arriving.key') }
  copyFileSync(file('server.key'), keyfile.path)
  const arriving = ['server.key', 'empty.pem', 'other.key']
  const read = () => {
    copyFileSync(file(arriving.shift() as string), keyfile.path)
    return readClientTls({ roots: undefined, certfile, keyfile, now: Date.now() })
  }
  const { leaf } = readAtStart({ roots: undefined, certfile, keyfile }, read)
  assert.deepEqual(arriving, [])
  assert.equal(leaf?.subject.text, 'CN=other')
})

test('a file that is no PEM file is not read again', () => {
  let reads = 0
  const certfile = { flag: '--cert', path: file('text.pem') }
  const read = () => {
    reads += 1
    return readClientTls({ roots: undefined, certfile, keyfile: certfile, now: Date.now() })
  }
  writeFileSync(certfile.path, 'not a certificate')
  assert.throws(() => readAtStart({ roots: undefined, certfile, keyfile: certfile }, read), /is not a PEM file/)
  assert.equal(reads, 1)
})
