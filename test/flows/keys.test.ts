import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { TestCa } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { run, start } from '../harness/program.ts'

const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false

test('with --enable-supernode-auth only registered keys come in, and keep their node id', {
  skip: needsSshKeygen,
}, async () => {
  using directory = temporaryDirectory()
  const { path, file } = directory
  const ca = await TestCa.create(path)
  const { certfile, keyfile } = await ca.server()
  execFileSync('ssh-keygen', ['-q', '-t', 'ecdsa', '-b', '384', '-N', '', '-f', file('node')])
  const options = { cwd: path, env: { FLWR_HOME: file('home'), NO_COLOR: '1' } }
  await using superlink = start(
    'flower-superlink',
    [
      ...['--ssl-ca-certfile', ca.certfile, '--ssl-certfile', certfile, '--ssl-keyfile', keyfile],
      ...['--enable-supernode-auth', '--database', file('state.db'), '--port', '0', '--isolation', 'process'],
      ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0'],
    ],
    options,
  )
  const [, control = ''] = await superlink.line(/Starting Control API on (\S+)/)
  const [, fleet = ''] = await superlink.line(/Starting Fleet API on (\S+)/)
  mkdirSync(file('home'))
  writeFileSync(
    file('home/config.toml'),
    `[superlink]\ndefault = "here"\n[superlink.here]\naddress = "${control}"\nroot-certificates = "${ca.certfile}"\n`,
  )
  const connect = ['--root-certificates', ca.certfile, '--superlink', fleet]
  const withKey = [...connect, '--auth-supernode-private-key', file('node')]

  const automatic = await run('flower-supernode', connect, options)
  assert.equal(automatic.status, 1)
  assert.match(automatic.said, /All SuperNodes must be registered via the CLI/)
  const unknown = await run('flower-supernode', withKey, options)
  assert.equal(unknown.status, 1)
  assert.match(unknown.said, /No SuperNode found with the given public key/)

  const registered = await run('flwr', ['supernode', 'register', file('node.pub'), '--format', 'json'], options)
  const nodeId = /"node-id": (\d+)/.exec(registered.stdout)?.[1]
  for (let life = 0; life < 2; life++) {
    await using node = start('flower-supernode', withKey, options)
    const [, joinedAs] = await node.line(/SuperNode ID: (\d+)/)
    assert.equal(joinedAs, nodeId)
  }
})
