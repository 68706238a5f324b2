import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from '../base/errors.ts'
import { parseSupernodeConfig } from './config.ts'

const directory = temporaryDirectory()
const { file } = directory
const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false
after(() => directory[Symbol.dispose]())

before(async () => {
  const ca = await TestCa.create(directory.path)
  const one = await ca.issue('node-1')
  await ca.issue('node-2')
  const day = 86_400_000
  await ca.issue('expired', { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) })
  await ca.issue('early', { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) })
  writeFileSync(file('bundle.pem'), one.issued.keyPem + one.issued.certificatePem)
  writeFileSync(file('node.toml'), 'partition-id = 3\n[camera]\nname = "left"\n')
  if (needsSshKeygen) return
  execFileSync('ssh-keygen', ['-q', '-t', 'ecdsa', '-b', '384', '-N', '', '-f', file('ssh-key')])
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('ssh-ed25519')])
})

const pair = (cert: string, key: string): string[] => [
  ...['--ssl-client-certfile', file(cert), '--ssl-client-keyfile', file(key), '--root-certificates', file('ca.crt')],
]

test('a SuperNode that could only be refused does not start, and says what would help', {
  skip: needsSshKeygen,
}, () => {
  const refused: readonly [args: () => string[], sentence: RegExp][] = [
    [() => ['--ssl-client-certfile', file('node-1.pem')], /--ssl-client-certfile needs --ssl-client-keyfile/],
    [() => ['--ssl-client-keyfile', file('node-1.key')], /--ssl-client-keyfile needs --ssl-client-certfile/],
    [() => pair('node-1.pem', 'node-2.key'), /does not belong to the certificate/],
    [() => pair('expired.pem', 'expired.key'), /expired\.pem has expired \(on .*\): have it renewed/],
    [() => pair('early.pem', 'early.key'), /early\.pem is not valid yet/],
    [() => ['--insecure', '--root-certificates', file('ca.crt')], /Conflicting options/],
    [
      () => ['--insecure', '--ssl-client-certfile', file('node-1.pem'), '--ssl-client-keyfile', file('node-1.key')],
      /--ssl-client-certfile needs TLS/,
    ],
    [() => ['--insecure', '--auth-supernode-private-key', file('ssh-key')], /needs TLS/],
    [
      () => ['--auth-supernode-private-key', file('ssh-ed25519')],
      /is not an elliptic-curve key: make one with ssh-keygen -t ecdsa/,
    ],
    [() => ['--auth-supernode-private-key', file('ca.crt')], /is not an OpenSSH private key/],
    [() => ['--superlink', 'fl.example'], /--superlink 'fl\.example' is not an address/],
    [() => ['--insecure', '--node-config', 'partition-id'], /--node-config: 'partition-id' is not understood/],
    [() => ['--insecure', '--node-config', 'name=left'], /--node-config: .*give key=value pairs with TOML values/],
    [() => ['--insecure', '--node-config', 'a=[1,2]'], /value of 'a' must be a boolean, a number or a string/],
    [() => ['--insecure', '--tag', 'region'], /--tag 'region' is not understood: give key=value/],
    [() => ['--insecure', '--tag', 'a=1', '--tag', 'a=2'], /--tag a is given twice/],
    [
      () => [
        '--insecure',
        ...Array(17)
          .keys()
          .flatMap((key) => ['--tag', `k${key}=x`]),
      ],
      /at most 16/,
    ],
    [() => ['--insecure', '--max-retries', 'many'], /--max-retries must be a whole number/],
    [() => ['--insecure', '--rest'], /With --rest, --superlink must be a URL.*not '127\.0\.0\.1:9092'/],
    [() => ['--rest', '--superlink', 'http://fl.example:9095'], /is without TLS: give https:.*or --insecure/],
    [() => ['--insecure', '--rest', '--superlink', 'https://fl.example:9095'], /Conflicting options/],
    [() => ['--insecure', '--rest', '--superlink', 'http://fl.example'], /--superlink 'fl\.example' is not an address/],
    [() => ['--insecure', '--rest', '--transport', 'grpc'], /give --rest or --transport/],
    [
      () => ['--root-certificates', file('ca.crt'), '--isolation', 'process', '--host', '0.0.0.0'],
      /any program that reaches 0\.0\.0\.0:9094, .* could take its tasks: give --superexec-auth-secret-file/,
    ],
    [
      () => [
        ...['--root-certificates', file('ca.crt'), '--isolation', 'process'],
        ...['--clientappio-api-address', 'supernode:9094'],
      ],
      /any program that reaches supernode:9094, .* or give an address of this machine/,
    ],
  ]
  for (const [args, sentence] of refused) {
    assert.throws(
      () => parseSupernodeConfig(args()),
      (error) => error instanceof UsageError && sentence.test(error.message),
      `${args().join(' ')} should say ${sentence}`,
    )
  }
})

test('with --rest the SuperLink is given as a URL', () => {
  const read = (...args: string[]) => {
    const { superlinkAddress, transport } = parseSupernodeConfig(['--rest', ...args]) ?? {}
    return [superlinkAddress, transport]
  }
  assert.deepEqual(read('--insecure', '--superlink', 'http://[::1]:9095/'), ['[::1]:9095', 'rest'])
  const trusted = ['--root-certificates', file('ca.crt')]
  assert.deepEqual(read(...trusted, '--superlink', 'https://fl.example:9095'), ['fl.example:9095', 'rest'])
})

test('certificate and key may be one file given twice, and an SSH key may be there beside them', {
  skip: needsSshKeygen,
}, () => {
  const config = parseSupernodeConfig([
    ...pair('bundle.pem', 'bundle.pem'),
    ...['--auth-supernode-private-key', file('ssh-key')],
  ])
  assert.equal(config?.hasCertificate, true)
  assert.equal(config?.keyIsAutomatic, false)
})

test('the node configuration is TOML, in pairs or from a file, flattened', () => {
  const configOf = (text: string) => parseSupernodeConfig(['--insecure', '--node-config', text])?.nodeConfig
  assert.deepEqual(configOf(`partition-id=0 rate=0.5 name="left ward" on=true camera.id='a b'`), {
    'partition-id': 0n,
    rate: 0.5,
    name: 'left ward',
    on: true,
    'camera.id': 'a b',
  })
  assert.deepEqual(configOf(file('node.toml')), { 'partition-id': 3n, 'camera.name': 'left' })
})

test('tags are given one by one, and a value may hold any sign', () => {
  const tags = (...args: string[]) => parseSupernodeConfig(['--insecure', ...args])?.tags
  assert.deepEqual(tags(), {})
  assert.deepEqual(tags('--tag', 'region=eu', '--tag', 'ward=left = 2'), { region: 'eu', ward: 'left = 2' })
})

test('what SuperExecs must know: a secret, unless the address is one of this machine, or all is insecure', () => {
  writeFileSync(file('secret'), 'the secret')
  const trusted = ['--root-certificates', file('ca.crt')]
  const withSecret = ['--superexec-auth-secret-file', file('secret')]
  const read = (...args: string[]) => {
    const { superexecSecret, warnings } = parseSupernodeConfig(args) ?? { superexecSecret: undefined, warnings: [] }
    return { secret: superexecSecret !== undefined, warnings: warnings.filter((line) => /tasks/.test(line)).join() }
  }
  assert.deepEqual(read(...trusted, '--isolation', 'process'), { secret: false, warnings: '' })
  assert.deepEqual(read(...trusted, '--isolation', 'process', '--host', '0.0.0.0', ...withSecret), {
    secret: true,
    warnings: '',
  })
  const open = read('--insecure', '--isolation', 'process', '--host', '0.0.0.0')
  assert.match(open.warnings, /can take its tasks: give --superexec-auth-secret-file/)
  const ignored = read(...trusted, ...withSecret)
  assert.equal(ignored.secret, false)
  assert.match(ignored.warnings, /ignored with --isolation subprocess/)
  assert.deepEqual(read(...trusted, '--host', '0.0.0.0'), { secret: false, warnings: '' })
})
