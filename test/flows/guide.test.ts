import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { run, type StartOptions, start, type TestProgram } from '../harness/program.ts'
import { freePort } from '../harness/python-flower.ts'
import { writeApp } from '../harness/write-app.ts'

const guide = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'guides', 'mutual-tls.md'), 'utf8')
const bin = join(import.meta.dirname, '..', '..', 'bin')
const noOpenssl = spawnSync('openssl', ['version']).error ? 'openssl is not installed' : false

test('a site issues for its own nodes with an intermediate, as the guide says', { skip: noOpenssl }, async () => {
  using directory = temporaryDirectory()
  mkdirSync(directory.file('certificates'))
  for (const heading of ['With openssl', 'A CA of its own for clients, with an intermediate'])
    execFileSync('sh', ['-e', '-c', commandsBelow(heading)], {
      cwd: directory.path,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
  const options: StartOptions = { cwd: directory.path }
  await using superlink = start(
    'flower-superlink',
    [
      ...['--ssl-ca-certfile', 'certificates/ca.crt', '--ssl-certfile', 'certificates/server.pem'],
      ...['--ssl-keyfile', 'certificates/server.key', '--ssl-require-client-auth'],
      ...['--ssl-client-ca-certfile', 'certificates/client-ca.crt', '--port', '0'],
      ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0'],
    ],
    options,
  )
  const [, fleet = ''] = await superlink.line(/Starting Fleet API on (\S+)/)
  const node = (name: string): TestProgram =>
    start(
      'flower-supernode',
      [
        ...['--root-certificates', 'certificates/ca.crt', '--ssl-client-certfile', `certificates/${name}.pem`],
        ...['--ssl-client-keyfile', `certificates/${name}.key`, '--superlink', fleet],
      ],
      options,
    )
  await using member = node('node-3')
  await member.line(/SuperNode ID/)
  await superlink.line(/identity=spiffe:\/\/fl\.example\/supernode\/3/)
  await using stranger = node('node-1')
  await stranger.line(/not signed by a CA that this SuperLink trusts \(CN=Federation CA\)/)
  assert.notEqual(await stranger.end(), 0)
})

/** The first block of commands below a heading of the guide. */
function commandsBelow(heading: string): string {
  const block = new RegExp(`### ${heading}\\n[\\s\\S]*?\`\`\`sh\\n([\\s\\S]*?)\`\`\``).exec(guide)?.[1]
  assert.ok(block, `the guide has commands below '${heading}'`)
  return block
}

for (const [heading, skip] of [
  ['With openssl', noOpenssl],
  ['With flwr pki', false],
] as const) {
  test(`certificates made as the guide says (${heading}) work with the command lines of the README`, {
    skip,
  }, async () => {
    using directory = temporaryDirectory()
    mkdirSync(directory.file('certificates'))
    execFileSync('sh', ['-e', '-c', commandsBelow(heading)], {
      cwd: directory.path,
      env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const options: StartOptions = { cwd: directory.path, env: { FLWR_HOME: directory.path, NO_COLOR: '1' } }
    const certificates = ['--ssl-ca-certfile', 'certificates/ca.crt', '--ssl-certfile', 'certificates/server.pem']
    await using superlink = start(
      'flower-superlink',
      [
        ...[...certificates, '--ssl-keyfile', 'certificates/server.key', '--ssl-require-client-auth'],
        ...['--ssl-client-ca-certfile', 'certificates/ca.crt', '--database', 'state.db', '--port', '0'],
        ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0'],
      ],
      options,
    )
    const [, fleet = ''] = await superlink.line(/Starting Fleet API on (\S+)/)
    const [, control = ''] = await superlink.line(/Starting Control API on (\S+)/)
    await superlink.line(/Starting API on/)
    await using node = start(
      'flower-supernode',
      [
        ...['--root-certificates', 'certificates/ca.crt', '--ssl-client-certfile', 'certificates/node-1.pem'],
        ...['--ssl-client-keyfile', 'certificates/node-1.key', '--superlink', fleet],
      ],
      options,
    )
    await node.line(/SuperNode ID/)
    const path = (name: string): string => directory.file(`certificates/${name}`)
    writeFileSync(
      directory.file('config.toml'),
      `[superlink.my-deployment]
address = "${control.replace('127.0.0.1', 'localhost')}"
root-certificates = "${path('ca.crt')}"
client-certificate = "${path('data-scientist.pem')}"
client-private-key = "${path('data-scientist.key')}"
`,
    )
    const app = writeApp(directory.file('app'), { server: countingServer, client: countingClient, config: 'nodes = 1' })
    const trained = await run('flwr', ['run', app, 'my-deployment', '--stream'], options)
    assert.equal(trained.status, 0, trained.said)
    assert.match(trained.said, /weights: 2 12/)
    const { said } = await run('flwr', ['supernode', 'ls', 'my-deployment'], options)
    assert.match(said, /node-1 +Hospital A +certificate/)
  })
}

test('the ten commands from nothing to a revoked node do what the guide says', async (t) => {
  await using stack = new AsyncDisposableStack()
  const directory = stack.use(temporaryDirectory())
  const block = /in an empty folder:\n\n```sh\n([\s\S]*?)```/.exec(guide)?.[1] ?? ''
  const ports = new Map(
    await Promise.all(['9092', '9093', '8000'].map(async (port) => [port, await freePort()] as const)),
  )
  // Ports that are free on this machine stand for those of the guide.
  const commands = block
    .trim()
    .replace(/\b(9092|9093|8000)\b/g, (port) => String(ports.get(port)))
    .split('\n')
  assert.equal(commands.length, 10)
  const options: StartOptions = {
    cwd: directory.path,
    env: { FLWR_HOME: directory.path, NO_COLOR: '1', PATH: `${bin}:${process.env.PATH}` },
  }
  const staying: TestProgram[] = []
  let listed = ''
  for (const command of commands) {
    const shell = { ...options, bin: '/bin' }
    if (command.endsWith(' &')) {
      staying.push(stack.use(start('sh', ['-c', `exec ${command.slice(0, -2)}`], shell)))
      await staying.at(-1)?.line(/Starting API on|SuperNode ID: \d+/)
      continue
    }
    const { status, said } = await run('sh', ['-c', command], shell)
    assert.equal(status, 0, `${command}: ${said}`)
    if (command.startsWith('flwr supernode ls')) listed = said
  }
  const revokedAt = performance.now()
  assert.match(listed, /hospital-a .*online/s)
  const [superlink, node] = staying as [TestProgram, TestProgram]
  await node.line(/The client certificate has been revoked \(serial [0-9A-F]+ of CN=Trellis trial CA\)/)
  const tookMs = performance.now() - revokedAt
  assert.equal(await node.end(), 1)
  t.diagnostic(`the node heard of it after ${tookMs.toFixed(0)} ms`)
  await superlink.line(/revoked-by-crl/)
})
