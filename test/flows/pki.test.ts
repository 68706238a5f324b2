import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { issue } from '../../src/identity/pki.ts'
import { validFor } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { needsOpenssl, OpensslCa } from '../harness/openssl.ts'
import { run } from '../harness/program.ts'

/** `flwr pki`, as a user types it to try mutual TLS. */

async function pki(cwd: string, ...args: string[]) {
  const { status, said } = await run('flwr', ['pki', ...args], { cwd, env: { NO_COLOR: '1', FLWR_HOME: cwd } })
  assert.doesNotMatch(said, /\n\s+at /)
  return { status, said }
}

test('a CA and its certificates are written under the names that the guide uses, keys for their owner only', async () => {
  using directory = temporaryDirectory()
  const mode = (name: string): number => statSync(directory.file(name)).mode & 0o777
  const made = await pki(directory.path, 'init', 'certificates')
  assert.equal(made.status, 0, made.said)
  assert.match(made.said, /not for production/)
  const server = await pki(
    directory.path,
    'issue',
    'server',
    '--server',
    '--dns',
    'fl.example',
    '--ip',
    '10.0.0.7',
    '--ip',
    '::1',
  )
  assert.equal(server.status, 0, server.said)
  const node = await pki(
    directory.path,
    ...['issue', 'node-1', '--organization', 'Hospital A', '--uri', 'spiffe://fl.example/supernode/1', '--days', '7'],
  )
  assert.equal(node.status, 0, node.said)
  for (const name of ['ca.key', 'server.key', 'node-1.key']) assert.equal(mode(`certificates/${name}`), 0o600)

  const shown = await pki(
    directory.path,
    'show',
    'certificates/ca.crt',
    'certificates/server.pem',
    'certificates/node-1.pem',
  )
  assert.equal(shown.status, 0, shown.said)
  const line = (name: string, value: string): RegExp => new RegExp(`^${name} +${value}$`, 'm')
  for (const [name, value] of [
    ['Subject', 'CN=Trellis trial CA'],
    ['Kind', 'CA'],
    ['Key usage', 'keyCertSign, cRLSign'],
    ['Other names', 'fl\\.example, 10\\.0\\.0\\.7, 0:0:0:0:0:0:0:1'],
    ['Extended usage', 'serverAuth'],
    ['Subject', 'CN=node-1,O=Hospital A'],
    ['Issuer', 'CN=Trellis trial CA'],
    ['Identity', 'spiffe://fl\\.example/supernode/1'],
    ['Organization', 'Hospital A'],
    ['Key usage', 'digitalSignature'],
    ['Extended usage', 'clientAuth'],
    ['Valid until', '.* \\(6 days left\\)'],
    ['Serial', '[0-9A-F]{32}'],
    ['SHA-256', '([0-9A-F]{2}:){31}[0-9A-F]{2}'],
  ] as const)
    assert.match(shown.said, line(name, value))
  assert.doesNotMatch(shown.said, /PRIVATE KEY/)
})

test('what is there is not replaced without --force, and a replaced key is not readable by others', async () => {
  using directory = temporaryDirectory()
  await pki(directory.path, 'init', 'certificates')
  await pki(directory.path, 'issue', 'node-1')
  const ca = readFileSync(directory.file('certificates/ca.key'), 'utf8')
  for (const args of [
    ['init', 'certificates'],
    ['issue', 'node-1'],
  ]) {
    const { status, said } = await pki(directory.path, ...args)
    assert.equal(status, 1)
    assert.match(said, /is there already: give --force to replace it/)
  }
  assert.equal(readFileSync(directory.file('certificates/ca.key'), 'utf8'), ca)
  chmodSync(directory.file('certificates/node-1.key'), 0o644)
  const before = readFileSync(directory.file('certificates/node-1.key'), 'utf8')
  assert.equal((await pki(directory.path, 'issue', 'node-1', '--force')).status, 0)
  assert.notEqual(readFileSync(directory.file('certificates/node-1.key'), 'utf8'), before)
  assert.equal(statSync(directory.file('certificates/node-1.key')).mode & 0o777, 0o600)
})

test('what cannot be issued or shown is one sentence with the remedy', async () => {
  using directory = temporaryDirectory()
  const refused = async (sentence: RegExp, ...args: string[]): Promise<void> => {
    const { status, said } = await pki(directory.path, ...args)
    assert.ok(status === 1 || status === 2, `${args.join(' ')} ended with ${status}`)
    assert.match(said, sentence)
  }
  await refused(/There is no CA in certificates \(ca\.crt is missing\): make one with flwr pki init/, 'issue', 'node-1')
  await pki(directory.path, 'init', 'certificates', '--days', '30')
  await refused(/'\.\.\/x' cannot name a file/, 'issue', '../x')
  await refused(/--ip: 'fl\.example' is not an IP address/, 'issue', 'server', '--server', '--ip', 'fl.example')
  await refused(/--dns: 'a b' must be ASCII/, 'issue', 'server', '--server', '--dns', 'a b')
  await refused(/--uri: 'node-1' is not a URI/, 'issue', 'node-1', '--uri', 'node-1')
  await refused(/--days must be a whole number/, 'issue', 'node-1', '--days', '0')
  await refused(/does not point to a file: none\.pem/, 'show', 'none.pem')
  await refused(/holds a private key where a certificate belongs/, 'show', 'certificates/ca.key')
  writeFileSync(directory.file('file'), '')
  await refused(/cannot be written \(E\w+\): choose another folder/, 'init', 'file/below')
  const { said } = await pki(directory.path, 'issue', 'node-1')
  assert.match(said, /The certificate ends with its CA, on /)
})

test('strict readers accept what is issued, and a CA of openssl can issue too', { skip: needsOpenssl }, async () => {
  using directory = temporaryDirectory()
  await pki(directory.path, 'init', 'certificates')
  await pki(directory.path, 'issue', 'server', '--server', '--dns', 'localhost')
  await pki(directory.path, 'issue', 'node-1')
  const verify = (ca: string, purpose: string, certificate: string): string =>
    execFileSync('openssl', ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', ca, certificate], {
      cwd: directory.path,
      encoding: 'utf8',
    })
  assert.match(verify('certificates/ca.crt', 'sslserver', 'certificates/server.pem'), /OK/)
  assert.match(verify('certificates/ca.crt', 'sslclient', 'certificates/node-1.pem'), /OK/)

  new OpensslCa(directory.path, 'theirs')
  const issued = await pki(directory.path, 'issue', 'node-2', '--directory', '.', '--ca', 'theirs')
  assert.equal(issued.status, 0, issued.said)
  assert.match(verify('theirs.crt', 'sslclient', 'node-2.pem'), /OK/)
  const renewed = await pki(directory.path, 'renew', 'theirs', '--ca', 'theirs', '--directory', '.')
  assert.equal(renewed.status, 0, renewed.said)
  assert.match(verify('theirs.crt', 'sslclient', 'node-2.pem'), /OK/)
})

test('a CA that has expired issues nothing until it is renewed with its key, and what is below it is then valid again', {
  skip: needsOpenssl,
}, async () => {
  using directory = temporaryDirectory()
  const day = 86_400_000
  const past = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }
  const ca = await issue({ commonName: 'Old CA', ca: true, ...past })
  mkdirSync(directory.file('certificates'))
  for (const [name, text] of [
    ['ca.crt', ca.certificatePem],
    ['ca.key', ca.keyPem],
    ['node.pem', (await issue({ commonName: 'node', usages: ['client'], ...validFor(30) }, ca)).certificatePem],
  ] as const)
    writeFileSync(directory.file(`certificates/${name}`), text, { mode: 0o600 })
  const refused = await pki(directory.path, 'issue', 'node-1')
  assert.match(refused.said, /has expired: renew it with flwr pki renew ca --ca ca --directory certificates/)
  const renewed = await pki(directory.path, 'renew', 'ca')
  assert.equal(renewed.status, 0, renewed.said)
  assert.equal(readFileSync(directory.file('certificates/ca.key'), 'utf8'), ca.keyPem)
  const verified = execFileSync('openssl', ['verify', '-CAfile', 'ca.crt', 'node.pem'], {
    cwd: directory.file('certificates'),
    encoding: 'utf8',
  })
  assert.match(verified, /OK/)
})

test('a certificate is renewed with another key, revoked once, and the list says so to us and to openssl', {
  skip: needsOpenssl,
}, async () => {
  using directory = temporaryDirectory()
  const lines: [line: string, said: RegExp][] = [
    ['init', /Wrote/],
    ['issue node-1 --organization H --uri spiffe://a/b', /Wrote/],
    ['renew node-1', /Wrote certificates\/node-1\.pem/],
    ['revoke node-1 --reason keyCompromise', /Revoked node-1, serial [0-9A-F]+.*\n.*list 1, 1 revoked/],
    ['revoke node-1', /was revoked before.\n.*list 2, 1 revoked/],
    ['crl --days 30', /list 3, 1 revoked, the next is due in 30 days/],
  ]
  const before = (): string => readFileSync(directory.file('certificates/node-1.pem'), 'utf8')
  let issued = ''
  for (const [line, expected] of lines) {
    const { status, said } = await pki(directory.path, ...line.split(' '))
    assert.equal(status, 0, said)
    assert.match(said, expected)
    if (line.startsWith('issue')) issued = before()
  }
  assert.notEqual(before(), issued)
  const shown = await pki(directory.path, 'show', 'certificates/node-1.pem', 'certificates/ca.crl', '--format', 'json')
  const [certificate, list] = JSON.parse(shown.said).files
  assert.equal(certificate.identity, 'spiffe://a/b')
  assert.deepEqual([list.number, list.revoked], [3, [certificate.serial]])

  const openssl = (...args: string[]): string =>
    execFileSync('openssl', args, { cwd: directory.path, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const list0 = openssl('crl', '-in', 'certificates/ca.crl', '-noout', '-text', '-CAfile', 'certificates/ca.crt')
  assert.match(list0, new RegExp(`Serial Number: ${certificate.serial}[\\s\\S]*Key Compromise`))
  assert.throws(
    () =>
      openssl(
        ...['verify', '-crl_check', '-CAfile', 'certificates/ca.crt', '-CRLfile', 'certificates/ca.crl'],
        'certificates/node-1.pem',
      ),
    /certificate revoked/,
  )

  for (const [line, why] of [
    ['revoke nothing', /does not point to a file: certificates\/nothing\.pem/],
    ['revoke node-1 --reason boredom', /none of unspecified, keyCompromise/],
    ['crl --directory elsewhere', /There is no CA in elsewhere/],
  ] as const) {
    const { status, said } = await pki(directory.path, ...line.split(' '))
    assert.equal(status, 1, said)
    assert.match(said, why)
  }
})
