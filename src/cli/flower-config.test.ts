import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { UsageError } from '../base/errors.ts'
import { type ConnectionProfile, findConnection, readFlowerConfig } from './flower-config.ts'

const home = mkdtempSync(join(tmpdir(), 'trellis-config-'))
const path = join(home, 'config.toml')
after(() => rmSync(home, { recursive: true }))

function connection(toml: string, name?: string): ConnectionProfile {
  writeFileSync(path, toml)
  return findConnection(readFlowerConfig(home), name)
}

/** The sentence with which a file is refused; the file's path stands for itself as FILE. */
function refusal(toml: string, name?: string): string {
  try {
    connection(toml, name)
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error))
    assert.equal(error.exitStatus, 1)
    return error.message.replaceAll(path, 'FILE')
  }
  throw new Error('It was accepted')
}

test('a missing config.toml is written with comments, once, and names a SuperLink on this machine', () => {
  rmSync(path, { force: true })
  const created: string[] = []
  const first = readFlowerConfig(home, (at) => created.push(at))
  const text = readFileSync(path, 'utf8')
  readFlowerConfig(home, (at) => created.push(at))
  assert.deepEqual(created, [path])
  assert.match(text, /^#/)
  assert.match(text, /client-certificate/)
  assert.equal(first.defaultName, 'local')
  const { local, simulation } = findConnection(first, undefined)
  assert.deepEqual({ local, simulation }, { local: 'disk', simulation: { numSupernodes: 10 } })
  const { address, insecure } = findConnection(first, 'local-deployment')
  assert.deepEqual({ address, insecure }, { address: '127.0.0.1:9093', insecure: true })
})

test('a connection with a client certificate is read whole, and the default one is found without a name', () => {
  const found = connection(`[superlink]
default = "my-deployment"
[superlink.my-deployment]
address = "superlink.example.org:9093"
root-certificates = "/c/ca.crt"
client-certificate = "/c/me.pem"
client-private-key = "/c/me.key"
federation = "@none/default"
`)
  assert.deepEqual(found, {
    name: 'my-deployment',
    address: 'superlink.example.org:9093',
    local: undefined,
    simulation: undefined,
    insecure: false,
    rootCertificates: '/c/ca.crt',
    clientCertificate: '/c/me.pem',
    clientPrivateKey: '/c/me.key',
    federation: '@none/default',
    where: `${path}: [superlink.my-deployment]`,
    warnings: [],
  })
})

test('an address without a port means the port of HTTPS, as in gRPC', () => {
  assert.equal(connection('[superlink.a]\naddress = "superlink.example.org"', 'a').address, 'superlink.example.org:443')
  assert.equal(connection('[superlink.a]\naddress = "[::1]:9093"', 'a').address, '[::1]:9093')
})

test('options say how runs are simulated, in tables or in dotted keys, and stand for a simulation here when alone', () => {
  const dotted = connection(
    '[superlink.a]\noptions.num-supernodes = 3\noptions.backend.client-resources.num-gpus = 0.5',
    'a',
  )
  const tables = connection(
    '[superlink.a]\naddress = ":local:"\n[superlink.a.options]\nnum-supernodes = 3\n[superlink.a.options.backend.client-resources]\nnum-gpus = 0.5',
    'a',
  )
  for (const { local, simulation, insecure } of [dotted, tables])
    assert.deepEqual(
      { local, simulation, insecure },
      {
        local: 'disk',
        simulation: { numSupernodes: 3, clientResourcesNumGpus: 0.5 },
        insecure: true,
      },
    )
})

test('the local SuperLink needs no entry in config.toml', () => {
  assert.equal(connection('', ':local:').local, 'disk')
  assert.equal(connection('', ':local-in-memory:').local, 'memory')
})

test('an unknown key is pointed out, because a misspelt one would have no effect', () => {
  const { warnings } = connection(
    '[superlink.a]\naddress = "h:1"\nroot-certificate = "/ca"\noptions.verbose = true\noptions.num-nodes = 3',
    'a',
  )
  assert.equal(warnings.length, 2)
  assert.match(warnings[0] ?? '', /'root-certificate' is unknown/)
  assert.match(warnings[1] ?? '', /'options.num-nodes' is unknown/)
})

test('a fault in another connection does no harm', () => {
  assert.equal(connection('[superlink.a]\naddress = "h:1"\n[superlink.b]\naddress = 1', 'a').name, 'a')
})

test('whatever is wrong in config.toml is one sentence with the file, the key and the remedy', () => {
  const a = (lines: string): string => `[superlink.a]\naddress = "h:1"\n${lines}`
  const faults: readonly (readonly [string, string | undefined, RegExp])[] = [
    ['[superlink', 'a', /^FILE is not valid TOML \(.*line 1\): correct or remove it/],
    ['superlink = 1', 'a', /^FILE: 'superlink' must be a table: write \[superlink.NAME\]/],
    ['[superlink]\ndefault = 1', undefined, /^FILE: 'default' in \[superlink\] must be the name/],
    ['[superlink.a]\naddress = "h:1"', undefined, /^FILE names no default connection: give one, or set 'default'/],
    [
      '[superlink.a]\naddress = "h:1"',
      'b',
      /^There is no connection 'b' in FILE \(there are a\): add a \[superlink.b\]/,
    ],
    ['[superlink]\ndefault = "x"', undefined, /'x' in FILE \(there are none\): .* or name another in 'default'/],
    ['[superlink.a]\naddress = "h:1"', './app', /'.\/app' is no connection in FILE: .* not a folder/],
    ['', 'constructor', /There is no connection 'constructor'/],
    ['[superlink]\na = "h:1"', 'a', /^FILE: \[superlink.a\] must be a table/],
    ['[superlink.a]\ninsecure = true', 'a', /^FILE: \[superlink.a\] has no 'address': give HOST:PORT/],
    ['[superlink.a]\naddress = 9093', 'a', /'address' must be a text in quotes, not 9093/],
    ['[superlink.a]\naddress = ""', 'a', /'address' must be a text in quotes, not empty/],
    ['[superlink.a]\naddress = "http://h:1"', 'a', /'address' 'http:\/\/h:1' is not an address: give HOST:PORT/],
    [
      '[superlink.a]\naddress = ":local:"\nroot-certificates = "/ca"',
      'a',
      /needs no certificates with address ':local:': remove them/,
    ],
    [a('options = 1'), 'a', /'options' must hold options, e\.g\. options\.num-supernodes = 10/],
    [a('options.num-supernodes = "ten"'), 'a', /'options.num-supernodes' must be a whole number, not "ten"/],
    [a('options.num-supernodes = -1'), 'a', /'options.num-supernodes' must be a whole number, not -1/],
    [
      a('options.backend.client-resources.num-cpus = 0.5'),
      'a',
      /'options.backend.client-resources.num-cpus' must be a whole number, not 0.5/,
    ],
    [a('options.backend.init-args = true'), 'a', /'options.backend.init-args' must hold options/],
    [a('options.verbose = 1'), 'a', /'options.verbose' must be true or false, not 1/],
    [a('insecure = "true"'), 'a', /'insecure' must be true or false without quotes: write insecure = true\./],
    [a('insecure = "yes"'), 'a', /'insecure' must be true or false, not yes/],
    [a('root-certificates = "ca.crt"'), 'a', /'root-certificates' must be an absolute path, not 'ca.crt'/],
    [a('root-certificates = ["/ca"]'), 'a', /'root-certificates' must be a text in quotes, not an array/],
    [a('client-certificate = "me.pem"'), 'a', /'client-certificate' must be an absolute path/],
    [a('client-certificate = "/me.pem"'), 'a', /needs both 'client-certificate' and 'client-private-key'/],
    [a('client-private-key = "/me.key"'), 'a', /needs both 'client-certificate' and 'client-private-key'/],
    [a('insecure = true\nroot-certificates = "/ca"'), 'a', /contradict each other: remove one/],
    [
      a('insecure = true\nclient-certificate = "/m"\nclient-private-key = "/k"'),
      'a',
      /'client-certificate' needs TLS: remove 'insecure = true'/,
    ],
    [a('federation = "default"'), 'a', /'federation' must have the form @<account-name>\/<federation-name>/],
  ]
  for (const [toml, name, expected] of faults) {
    const sentence = refusal(toml, name)
    assert.match(sentence, expected)
    assert.equal(sentence.split('\n').length, 1)
  }
})

test('a folder that cannot be written is named, with FLWR_HOME as a way out', () => {
  writeFileSync(join(home, 'file'), '')
  assert.throws(() => readFlowerConfig(join(home, 'file', 'below')), /cannot be read or made \(ENOTDIR\).*FLWR_HOME/)
})
