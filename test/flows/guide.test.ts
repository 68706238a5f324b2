import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { programFolder, run, type StartOptions, start, type TestProgram } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'

const guide = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'guides', 'mutual-tls.md'), 'utf8')
const noOpenssl = spawnSync('openssl', ['version']).error ? 'openssl is not installed' : false

test('a site issues for its own nodes with an intermediate, as the guide says', { skip: noOpenssl }, async () => {
  using directory = temporaryDirectory()
  for (const heading of ['### With openssl', '### A separate CA for clients, with an intermediate CA'])
    runBlock(heading, directory.path)
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
  const block = new RegExp(`${heading}\\n[\\s\\S]*?\`\`\`sh\\n([\\s\\S]*?)\`\`\``).exec(guide)?.[1]
  assert.ok(block, `the guide has commands below '${heading}'`)
  return block
}

/** Runs a block as a person would paste it, without FLWR_HOME. */
function runBlock(heading: string, folder: string): void {
  const { FLWR_HOME: _, ...environment } = process.env
  execFileSync('sh', ['-e', '-c', commandsBelow(heading)], {
    cwd: folder,
    env: { ...environment, HOME: folder, PATH: `${programFolder}:${process.env.PATH}` },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

/** The arguments with which the guide starts a program below a heading. */
function argumentsBelow(heading: string, program: string): string[] {
  const section = new RegExp(`${heading}\\n([\\s\\S]*?)\\n## `).exec(guide)?.[1]?.replaceAll('\\\n', ' ') ?? ''
  const command = new RegExp(`^${program} (.*)$`, 'm').exec(section)?.[1]
  assert.ok(command, `the guide starts ${program} below '${heading}'`)
  return command.trim().split(/\s+/)
}

test('certificates made with openssl as the guide says work with its command lines', {
  skip: noOpenssl,
}, async () => {
  using directory = temporaryDirectory()
  runBlock('### With openssl', directory.path)
  const options: StartOptions = { cwd: directory.path, env: { FLWR_HOME: directory.path, NO_COLOR: '1' } }
  await using superlink = start(
    'flower-superlink',
    [
      ...argumentsBelow('## 2\\. Start', 'flower-superlink'),
      ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0', '--port', '0'],
    ],
    options,
  )
  const [, fleet = ''] = await superlink.line(/Starting Fleet API on (\S+)/)
  const [, control = ''] = await superlink.line(/Starting Control API on (\S+)/)
  await superlink.line(/Starting API on/)
  await using node = start(
    'flower-supernode',
    argumentsBelow('## 2\\. Start', 'flower-supernode').map((word) => word.replace('127.0.0.1:9092', fleet)),
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
