import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from '../base/errors.ts'
import { readTrustAndPolicy } from '../identity/client-trust.ts'
import { issue } from '../identity/pki.ts'
import { parseSuperlinkConfig } from './config.ts'

const directory = temporaryDirectory()
const { file } = directory
after(() => directory[Symbol.dispose]())

before(async () => {
  const ca = await TestCa.create(directory.path)
  await ca.server()
  await ca.issue('other', { usages: ['server'] })
  const yesterday = new Date(Date.now() - 86_400_000)
  await ca.issue('expired', {
    usages: ['server'],
    notBefore: new Date(Date.now() - 2 * 86_400_000),
    notAfter: yesterday,
  })
  await TestCa.create(directory.path, 'elsewhere')
  const past = await issue({ commonName: 'past', ca: true, notBefore: new Date(0), notAfter: yesterday })
  writeFileSync(file('past.crt'), past.certificatePem)
  writeFileSync(file('empty.pem'), '')
  writeFileSync(file('token'), 'a'.repeat(32))
  writeFileSync(file('short-token'), 'guess me\n')
  writeFileSync(file('garbage.pem'), 'not a certificate')
  writeFileSync(file('bad.toml'), '[[allow]]\nidentity = "*"\nrole = ["cli"]\n')
  const key = createPrivateKey(readFileSync(file('server.key')))
  const locked = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
  writeFileSync(file('locked.key'), locked)
  writeFileSync(file('open.key'), readFileSync(file('server.key')))
  chmodSync(file('open.key'), 0o644)
})

const tls = (files: { cert?: string; key?: string; ca?: string } = {}): string[] => [
  ...['--ssl-certfile', file(files.cert ?? 'server.pem')],
  ...['--ssl-keyfile', file(files.key ?? 'server.key')],
  ...['--ssl-ca-certfile', file(files.ca ?? 'ca.crt')],
]

const required = (): string[] => [...tls(), '--ssl-require-client-auth']

test('flags and files that cannot work together refuse the start with what would', () => {
  const refused: readonly [args: () => string[], sentence: RegExp][] = [
    [() => [], /Certificates are required: .* or --insecure/],
    [() => ['--ssl-certfile', file('server.pem')], /Give all three of/],
    ...['0d', '-1', '5 weeks', ''].map((kept): [args: () => string[], sentence: RegExp] => [
      () => ['--insecure', '--keep-runs', kept],
      /--keep-runs must be a number of runs, such as 500, a number of days, such as 30d, or all/,
    ]),
    [
      () => ['--insecure', '--ssl-require-client-auth'],
      /--ssl-require-client-auth and --insecure contradict each other/,
    ],
    [() => ['--insecure', '--ssl-client-auth', 'request'], /--ssl-client-auth and --insecure contradict each other/],
    [() => ['--ssl-require-client-auth'], /Certificates are required/],
    [() => [...required(), '--dashboard-token-file', file('token')], /has no effect alone: add --dashboard-address/],
    [() => [...tls(), '--dashboard-address', '0.0.0.0:8080'], /needs client certificates .* or a token/],
    [
      () => ['--insecure', '--dashboard-address', '0.0.0.0:8080', '--dashboard-token-file', file('token')],
      /needs TLS: others on the way could read the token/,
    ],
    [
      () => [...tls(), '--dashboard-address', '127.0.0.1:8080', '--dashboard-token-file', file('short-token')],
      /short-token must hold at least 32 characters\. To make a token: openssl rand/,
    ],
    [
      () => [...tls(), '--ssl-client-ca-certfile', file('ca.crt')],
      /--ssl-client-ca-certfile has no effect without client certificates/,
    ],
    [() => [...tls(), '--ssl-client-policy', file('bad.toml')], /--ssl-client-policy has no effect/],
    [() => [...tls(), '--ssl-require-client-auth', '--ssl-client-auth', 'none'], /contradict each other/],
    [() => [...tls(), '--ssl-client-auth', 'perhaps'], /Allowed choices are none, request, require/],
    [
      () => [...tls({ key: 'other.key' })],
      /the key in .*other\.key does not belong to the certificate in .*server\.pem/,
    ],
    [() => [...tls({ cert: 'missing.pem' })], /`--ssl-certfile` does not point to a file: .*missing\.pem/],
    [() => [...tls({ cert: 'empty.pem' })], /--ssl-certfile: .*empty\.pem is empty/],
    [() => [...tls({ cert: 'garbage.pem' })], /--ssl-certfile: .*garbage\.pem is not a PEM file/],
    [() => [...tls({ cert: 'server.key' })], /holds a private key where a certificate belongs/],
    [() => [...tls({ key: 'server.pem' })], /holds a certificate where a private key belongs/],
    [() => [...tls({ key: 'locked.key' })], /is encrypted: give it without a passphrase/],
    [
      () => [...tls(), '--ssl-require-client-auth', '--ssl-client-ca-certfile', file('server.pem')],
      /holds no CA certificate/,
    ],
    [
      () => [...tls(), '--ssl-require-client-auth', '--ssl-client-ca-certfile', file('server.key')],
      /holds a private key where a certificate belongs/,
    ],
    [
      () => [...tls(), '--ssl-require-client-auth', '--ssl-client-policy', file('bad.toml')],
      /unknown key 'role' in \[\[allow\]\]/,
    ],
    [() => ['--insecure', '--enable-supernode-auth'], /--enable-supernode-auth needs TLS/],
    [() => ['--insecure', '--fleet-api-address', 'nowhere'], /--fleet-api-address 'nowhere' is not an address/],
    [() => ['--insecure', '--port', '70000'], /--port must be a whole number/],
    [
      () => ['--insecure', '--ssl-client-ca-certfile', file('ca.crt')],
      /--ssl-client-ca-certfile has no effect without client certificates: add --ssl-require-client-auth/,
    ],
    [() => ['--ssl-require-client-auth', '--ssl-client-ca-certfile', file('ca.crt')], /Certificates are required/],
    [() => ['--ssl-client-auth', 'require', '--insecure'], /--ssl-client-auth and --insecure contradict each other/],
    [() => [...tls(), '--ssl-client-auth', 'none', '--ssl-client-ca-certfile', file('ca.crt')], /has no effect/],
    // A flag about revocation that was taken and did nothing would be worse than none.
    [() => [...tls(), '--ssl-client-crl', 'x'], /--ssl-client-crl has no effect without client certificates/],
    [() => [...tls(), '--ssl-client-ocsp', 'lax'], /--ssl-client-ocsp has no effect without client certificates/],
    [
      () => [...tls(), '--ssl-require-client-auth', '--ssl-client-ocsp-url', 'http://a.test'],
      /--ssl-client-ocsp-url has no effect alone: add --ssl-client-ocsp lax or strict/,
    ],
    [
      () => [...required(), '--ssl-client-ocsp', 'lax', '--ssl-client-ocsp-url', 'ldap://a.test'],
      /'ldap:\/\/a\.test' is not an http or https URL/,
    ],
    [() => [...required(), '--ssl-client-crl', 'http://a.test,ca.crl'], /'ca\.crl' is not an http or https URL/],
    [() => [...tls(), '--ssl-staple-ocsp'], /the certificate in .*server\.pem names no OCSP responder/],
    [() => ['--insecure', '--ssl-staple-ocsp'], /--ssl-staple-ocsp needs TLS/],
    [() => ['--insecure', '--executor', 'x'], /--executor was removed/],
    [
      () => ['--insecure', '--fleet-api-type', 'grpc-adapter'],
      /--fleet-api-type grpc-adapter is not supported: leave it out, and --grpc-adapter/,
    ],
    [
      () => [...tls(), '--fleet-api-type', 'rest', '--enable-supernode-auth'],
      /--enable-supernode-auth and --fleet-api-type rest contradict each other/,
    ],
    [() => [...tls(), '--isolation', 'process', '--superexec-auth-secret-file', file('none')], /cannot be read/],
  ]
  for (const [args, sentence] of refused) {
    assert.throws(
      () => parseSuperlinkConfig(args()),
      (error) => error instanceof UsageError && sentence.test(error.message) && !error.message.includes('\n    at '),
      `${args().join(' ')} should say ${sentence}`,
    )
  }
})

test('what is questionable but works is a warning', () => {
  const warningsOf = (...args: string[]): string => (parseSuperlinkConfig(args)?.warnings ?? []).join('\n')
  assert.match(warningsOf(...tls({ cert: 'expired.pem', key: 'expired.key' })), /expired\.pem has expired/)
  assert.match(
    warningsOf(...tls({ key: 'open.key' })),
    /everybody on this machine can read the private key .*chmod 600/,
  )
  assert.match(warningsOf(...tls(), '--ssl-require-client-auth'), /a node could submit code to all nodes/)
  writeFileSync(
    file('names.toml'),
    '[identity]\nsource = "cn"\n[[ca]]\nfile = "elsewhere.crt"\norganizations = ["A"]\n',
  )
  const named = warningsOf(...tls(), '--ssl-require-client-auth', '--ssl-client-policy', file('names.toml'))
  assert.match(
    named,
    /could submit code to all nodes\. Narrow it with \[\[allow\]\] entries in the file of --ssl-client-policy/,
  )
  assert.match(named, /no CA of .*elsewhere\.crt is among the client CAs/)
  writeFileSync(file('narrow.toml'), '[[allow]]\nidentity = "node-*"\nroles = ["supernode"]\n')
  assert.doesNotMatch(
    warningsOf(...tls(), '--ssl-require-client-auth', '--ssl-client-policy', file('narrow.toml')),
    /submit code|among the client CAs/,
  )
  assert.match(
    warningsOf(...tls(), '--ssl-require-client-auth', '--enable-supernode-auth'),
    /--enable-supernode-auth has no effect/,
  )
  assert.match(
    warningsOf(...tls(), '--ssl-require-client-auth', '--ssl-client-ca-certfile', file('past.crt')),
    /--ssl-client-ca-certfile: the CA CN=past has expired: certificates of it are rejected/,
  )
  assert.match(warningsOf('--insecure'), /kept in memory and lost .* --database/)
  assert.doesNotMatch(warningsOf('--insecure', '--database', file('state.db')), /kept in memory/)
})

test('the REST transport has the default address of Flower, and nodes that prove nothing unless certificates are required', () => {
  const read = (...args: string[]) => {
    const { fleetAddress, unprovenNodes, warnings } = parseSuperlinkConfig(args) ?? assert.fail('no configuration')
    return [fleetAddress, unprovenNodes, warnings.some((line) => /can speak for it/.test(line))]
  }
  const rest = ['--fleet-api-type', 'rest']
  assert.deepEqual(read('--insecure'), ['0.0.0.0:9092', false, false])
  assert.deepEqual(read('--insecure', '--fleet-api-type', 'grpc-rere'), ['0.0.0.0:9092', false, false])
  assert.deepEqual(read('--insecure', ...rest), ['0.0.0.0:9095', true, true])
  assert.deepEqual(read('--insecure', ...rest, '--fleet-api-address', '[::]:1'), ['[::]:1', true, true])
  assert.deepEqual(read(...required(), ...rest), ['0.0.0.0:9095', false, false])
})

test('client certificates have the CA of the server unless another is given', () => {
  const trustOf = (...args: string[]): string[] => {
    const clients = parseSuperlinkConfig([...tls(), '--ssl-require-client-auth', ...args])?.clients
    if (!clients || clients.mode === 'none') return []
    return readTrustAndPolicy(clients.files, Date.now()).value.trust.anchors.map(({ subject }) => subject.text)
  }
  assert.deepEqual(trustOf(), ['CN=ca of the test'])
  assert.deepEqual(trustOf('--ssl-client-ca-certfile', file('ca.crt')), ['CN=ca of the test'])
})
