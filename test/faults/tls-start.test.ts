import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { TestCa } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { run, start } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'

/** What operators see of the real programs: refused starts, refused peers, and the wrong kind of port. */

const directory = temporaryDirectory()
const { file } = directory
after(() => directory[Symbol.dispose]())

let ca: TestCa
before(async () => {
  ca = await TestCa.create(directory.path)
  await ca.server()
  await ca.issue('node-1')
  await ca.issue('node-2')
  await ca.issue('server-only', { usages: ['server'] })
  const day = 86_400_000
  await ca.issue('old', { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) })
  await (await TestCa.create(directory.path, 'foreign')).issue('stranger')
})

const tls = (cert = 'server.pem', key = 'server.key'): string[] => [
  ...['--ssl-certfile', file(cert), '--ssl-keyfile', file(key), '--ssl-ca-certfile', file('ca.crt')],
]
const pair = (name: string, key = name): string[] => [
  ...['--ssl-client-certfile', file(`${name}.pem`), '--ssl-client-keyfile', file(`${key}.key`)],
]
const roots = (): string[] => ['--root-certificates', file('ca.crt')]
const anyPorts = ['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0', '--port', '0']

/** The one line that says why; no stack trace anywhere. */
function complaint(said: string): string {
  assert.doesNotMatch(said, /\n\s+at |node:internal|[A-Z]\w+Error:/)
  return said
}

test('a SuperLink that is told nonsense about TLS ends at once with one sentence', async () => {
  const cases: readonly (readonly [args: string[], sentence: RegExp])[] = [
    [['--ssl-require-client-auth', '--insecure'], /--ssl-require-client-auth and --insecure contradict each other/],
    [[...tls(), '--ssl-client-ca-certfile', file('ca.crt')], /has no effect without client certificates/],
    [tls('server.pem', 'node-1.key'), /the key in .* does not belong to the certificate/],
    [tls('server.key', 'server.pem'), /were the two files swapped\?/],
    [
      [...tls(), '--ssl-require-client-auth', '--ssl-client-crl', file('x')],
      /--ssl-client-crl: .*x cannot be read \(ENOENT\)/,
    ],
    [[...tls(), ...anyPorts, '--audit-log', file('none/audit.jsonl')], /--audit-log: .* cannot be written \(ENOENT\)/],
  ]
  const ended = await Promise.all(cases.map(([args]) => run('flower-superlink', args)))
  for (const [index, { status, said }] of ended.entries()) {
    const [args, sentence] = cases[index] as (typeof cases)[number]
    assert.match(complaint(said), sentence)
    assert.ok(typeof status === 'number' && status > 0, `${args.join(' ')} ended with ${status}`)
  }
})

test('a SuperNode and flwr that are refused print why and end; a wrong kind of port is named', async () => {
  await using superlink = start('flower-superlink', [...tls(), ...anyPorts, '--ssl-require-client-auth'])
  const [, fleet = ''] = await superlink.line(/Starting Fleet API on (\S+)/)
  const [, control = ''] = await superlink.line(/Starting Control API on (\S+)/)
  await superlink.line(/Starting API on/)
  await using plain = start('flower-superlink', ['--insecure', ...anyPorts])
  const [, plainFleet = ''] = await plain.line(/Starting Fleet API on (\S+)/)

  const refused: readonly (readonly [args: string[], sentence: RegExp])[] = [
    [
      [...roots(), '--superlink', fleet],
      /requires a client certificate and none was presented: give --ssl-client-certfile/,
    ],
    [[...roots(), ...pair('stranger'), '--superlink', fleet], /is not signed by a CA that this SuperLink trusts/],
    [[...roots(), ...pair('server-only'), '--superlink', fleet], /lacks extended key usage clientAuth: .*client auth/],
    [[...roots(), ...pair('old'), '--superlink', fleet], /old\.pem has expired \(on .*\): have it renewed/],
    [[...roots(), ...pair('node-1', 'node-2'), '--superlink', fleet], /does not belong to the certificate/],
    [[...roots(), '--transport', 'http', ...pair('stranger'), '--superlink', fleet], /is not signed by a CA that this/],
    [
      ['--root-certificates', file('foreign.crt'), ...pair('node-1'), '--superlink', fleet],
      /certificate of .* is not signed by a trusted CA/,
    ],
    [['--insecure', '--superlink', fleet, '--max-retries', '0'], /if it is a TLS port, connect without --insecure/],
    [
      [...roots(), ...pair('node-1'), '--superlink', plainFleet],
      /does not speak TLS: start the server with certificates/,
    ],
  ]
  const ended = await Promise.all(refused.map(([args]) => run('flower-supernode', args)))
  for (const [index, { status, said }] of ended.entries()) {
    const [args, sentence] = refused[index] as (typeof refused)[number]
    assert.match(complaint(said), sentence, args.join(' '))
    assert.ok(typeof status === 'number' && status > 0, `${args.join(' ')} ended with ${status}`)
  }
  await superlink.line(/WARNING : +Fleet API: A client without TLS connected to this port/)
  await superlink.line(
    /WARNING : +Refused a peer of the Fleet API: .*requires a client certificate.*reason=no-certificate/,
  )
  await plain.line(/WARNING : +Fleet API: A client with TLS connected to this port/)

  const second = ['--superlink', fleet, ...roots(), ...pair('node-1')]
  await using first = start('flower-supernode', second)
  const [, nodeId] = await first.line(/SuperNode ID: (\d+)/)
  const beside = await run('flower-supernode', second)
  assert.match(complaint(beside.said), /identity is in use by a connected SuperNode \(node-1\): stop that one/)
  assert.ok(typeof beside.status === 'number' && beside.status > 0)
  first.kill('SIGKILL')
  await first.end()
  await using after = start('flower-supernode', second)
  assert.equal((await after.line(/SuperNode ID: (\d+)/))[1], nodeId)

  const app = writeApp(file('app'), { server: 'export const app = 1', client: 'export const app = 1' })
  const address = control.replace('127.0.0.1', 'localhost')
  const link = (name: string, lines: string): string => `[superlink.${name}]\naddress = "${address}"\n${lines}\n`
  const rooted = `root-certificates = "${file('ca.crt')}"`
  const keys = (name: string): string =>
    `${rooted}\nclient-certificate = "${file(`${name}.pem`)}"\nclient-private-key = "${file(`${name}.key`)}"`
  writeFileSync(
    file('config.toml'),
    link('none', rooted) +
      link('foreign', keys('stranger')) +
      link('plain', 'insecure = true') +
      link('good', keys('node-1')),
  )
  const env = { FLWR_HOME: directory.path, NO_COLOR: '1' }
  for (const [args, sentence] of [
    [['run', app, 'none'], /requires a client certificate and none was presented/],
    [['run', app, 'foreign'], /is not signed by a CA that this SuperLink trusts/],
    [['supernode', 'ls', 'foreign'], /is not signed by a CA that this SuperLink trusts/],
  ] as const) {
    const { status, said } = await run('flwr', args, { env })
    assert.match(complaint(said), sentence)
    assert.equal(status, 1)
  }
  const { status, said } = await run('flwr', ['list', 'plain'], { env })
  assert.ok(status !== 0, said)
  assert.equal((await run('flwr', ['supernode', 'ls', 'good'], { env })).status, 0)
})
