import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { expectedDigest, writeBilingualApp } from '../harness/bilingual-app.ts'
import { TestCa } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { freePort } from '../harness/free-port.ts'
import { eventually, run, start, type TestProgram } from '../harness/program.ts'
import { pythonOf, startPython, withoutPython } from '../harness/python-flower.ts'
import { startStunnel, withoutStunnel } from '../harness/stunnel.ts'

const guidePath = join(import.meta.dirname, '..', '..', 'docs', 'guides', 'from-keys-to-certificates.md')
const guide = readFileSync(guidePath, 'utf8')
const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false

/** The blocks of a language below a heading of the guide. */
function block(heading: string, language: string): string {
  const section = new RegExp(`## \\d+\\. ${heading}\\n([\\s\\S]*?)(?=\\n## |$)`).exec(guide)?.[1] ?? ''
  const blocks = [...section.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))]
  assert.ok(blocks.length > 0, `the guide has a block of ${language} below '${heading}'`)
  return blocks.map(([, text]) => text).join('')
}

/** The arguments of the first command with this program below a heading. */
function argumentsOf(heading: string, program: string): string[] {
  const commands = block(heading, 'sh').replaceAll('\\\n', ' ').split('\n')
  const words = commands
    .map((command) => command.replace('~/flower/bin/', ''))
    .find((command) => command.startsWith(program))
    ?.split(/\s+/)
  assert.ok(words, `the guide starts ${program} below '${heading}'`)
  return words.slice(program.split(' ').length).filter((word) => word !== '')
}

test('a fleet moves from registered keys to certificates as the guide says, and Python comes along behind a tunnel', {
  skip: withoutPython || needsSshKeygen || withoutStunnel,
}, async () => {
  using directory = temporaryDirectory()
  const { path, file } = directory
  for (const folder of ['certificates', 'keys', 'home']) mkdirSync(file(folder))
  const ca = await TestCa.create(file('certificates'))
  await ca.server()
  for (const name of ['node-1', 'node-2', 'cli']) await ca.issue(name)
  const foreign = await TestCa.create(file('keys'), 'foreign')
  await foreign.issue('bad', { commonName: 'node-1' })
  execFileSync('ssh-keygen', ['-q', '-t', 'ecdsa', '-b', '384', '-N', '', '-f', file('keys/node-1')])
  const options = { cwd: path, env: { FLWR_HOME: file('home'), NO_COLOR: '1' } }
  const [fleetPort, controlPort] = [await freePort(), await freePort()]
  const superlinkOf = (heading: string): TestProgram =>
    start(
      'flower-superlink',
      [
        ...[...argumentsOf(heading, 'flower-superlink'), '--fleet-api-address', `127.0.0.1:${fleetPort}`],
        ...['--control-api-address', `127.0.0.1:${controlPort}`, '--port', '0'],
      ],
      options,
    )
  const here = (words: readonly string[]): string[] =>
    words.map((word) => word.replace('superlink.example:9092', `127.0.0.1:${fleetPort}`))
  const flwr = (...args: string[]) => run('flwr', args, options)
  const list = async (): Promise<Record<string, unknown>[]> =>
    JSON.parse((await flwr(...argumentsOf('See who has moved', 'flwr').concat('--format', 'json'))).stdout).nodes
  const configure = (more: string): void =>
    writeFileSync(
      file('home/config.toml'),
      `[superlink]\ndefault = "fleet"\n[superlink.fleet]\naddress = "127.0.0.1:${controlPort}"\nroot-certificates = "${ca.certfile}"\n${more}`,
    )
  configure('')

  let nodeId: string | undefined
  {
    await using superlink = superlinkOf('Where you are')
    await superlink.line(/Starting Fleet API/)
    assert.equal((await flwr(...argumentsOf('Where you are', 'flwr'))).status, 0)
    await using node = start('flower-supernode', here(argumentsOf('Where you are', 'flower-supernode')), options)
    nodeId = (await node.line(/SuperNode ID: (\d+)/))[1]
  }
  {
    await using superlink = superlinkOf('Request certificates without requiring them')
    await superlink.line(/Starting Fleet API/)
    {
      await using byKey = start('flower-supernode', here(argumentsOf('Where you are', 'flower-supernode')), options)
      assert.equal((await byKey.line(/SuperNode ID: (\d+)/))[1], nodeId)
      assert.equal((await list())[0]?.['auth-method'], 'key')
    }
    const moving = here(argumentsOf('Move a node', 'flower-supernode'))
    const bad = moving.map((word) => word.replace('certificates/node-1', 'keys/bad'))
    const refused = await run('flower-supernode', bad, options)
    assert.notEqual(refused.status, 0)
    assert.match(refused.said, /not signed by a CA that this SuperLink trusts/)
    await using node = start('flower-supernode', moving, options)
    assert.equal((await node.line(/SuperNode ID: (\d+)/))[1], nodeId)
    const [moved, ...others] = await list()
    assert.deepEqual(others, [])
    assert.deepEqual(
      [moved?.['auth-method'], moved?.identity, moved?.['certificate-days-left']],
      ['certificate', 'node-1', 0],
    )
    assert.match(String(moved?.['certificate-serial']), /^[0-9A-F]+$/)
  }
  configure(
    `client-certificate = "${file('certificates/cli.pem')}"\nclient-private-key = "${file('certificates/cli.key')}"\n`,
  )
  await using superlink = superlinkOf('Require certificates')
  await superlink.line(/Starting Fleet API/)
  const late = await run('flower-supernode', here(argumentsOf('Where you are', 'flower-supernode')), options)
  assert.match(late.said, /requires a client certificate/)
  const withoutKey = here(argumentsOf('Move a node', 'flower-supernode'))
  withoutKey.splice(withoutKey.indexOf('--auth-supernode-private-key'), 2)
  await using node = start('flower-supernode', [...withoutKey, '--python', pythonOf('1.29')], options)
  assert.equal((await node.line(/SuperNode ID: (\d+)/))[1], nodeId)

  const tunnelPort = await freePort()
  const configuration = block('SuperNodes of Python Flower', 'ini')
    .replace('127.0.0.1:9192', `127.0.0.1:${tunnelPort}`)
    .replace('superlink.example:9092', `127.0.0.1:${fleetPort}`)
    .replace('superlink.example', 'localhost')
  await using tunnel = await startStunnel(path, configuration)
  const pythonArguments = argumentsOf('SuperNodes of Python Flower', 'flower-supernode')
  await using python = startPython(
    '1.29',
    'flower-supernode',
    pythonArguments.map((word) => word.replace(':9192', `:${tunnelPort}`)),
    options,
  )
  const nodes = await eventually(
    'two nodes online',
    async () => {
      const found = await list()
      return found.length === 2 && found.every(({ status }) => status === 'online') && found
    },
    60_000,
  ).catch((error: unknown) => {
    throw new Error(`${tunnel.said}\n${python.said}\n${superlink.said}`, { cause: error })
  })
  assert.deepEqual(
    nodes.map((one) => [one.identity, one['auth-method'], one.status]),
    [
      ['node-1', 'certificate', 'online'],
      ['node-2', 'certificate', 'online'],
    ],
  )
  const app = writeBilingualApp(file('app'), { server: 'typescript', client: 'python' })
  const trained = await flwr('run', app, '--stream')
  assert.match(trained.said, new RegExp(`digest: ${expectedDigest()}`))
})
