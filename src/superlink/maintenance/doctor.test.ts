import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { parseOptions } from '../../base/options.ts'
import { rows } from '../options.ts'
import { examine } from './doctor.ts'

async function reportOf(argv: readonly string[]): Promise<string> {
  const values = parseOptions('flower-superlink doctor', '', rows, argv) ?? assert.fail()
  return (await Array.fromAsync(examine(values, argv))).join('\n')
}

test('a report counts what is stored and shows the end of the log, while the SuperLink runs', async () => {
  using home = temporaryDirectory()
  mkdirSync(home.file('state'))
  await using core = await SuperlinkCore.start({ folder: home.file('state') })
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  await core.push(runId, [core.instruction(runId, nodeId)])
  writeFileSync(home.file('superlink.log'), Array.from({ length: 5000 }, (_, line) => `line ${line}\n`).join(''))
  const database = home.file('state/state.db')
  const report = await reportOf(['--insecure', '--database', database, '--log-file', home.file('superlink.log')])
  assert.match(report, /^SuperNodes: 1 online$/m)
  assert.match(report, /^Tasks: 1 running$/m)
  assert.match(report, /^Messages: 1 offered$/m)
  assert.match(report, /^line 4800\n(line \d+\n){198}line 4999$/m)
  assert.doesNotMatch(report, /line 4799/)
})

test('a report shows no password in a URL, whatever characters it has, and no query', async () => {
  const urls = ['http://user:pa@ss,word@proxy.example:80/list.crl', 'https://ca.example/list.crl?token=s3cr3t&other=1']
  for (const url of urls) {
    const report = await reportOf(['--insecure', '--ssl-client-crl', url])
    assert.match(report, /^--ssl-client-crl https?:\/\/(\*\*\*@proxy\.example:80|ca\.example)\/list\.crl/m)
    assert.doesNotMatch(report, /pa@|ss,|word|s3cr3t|other/)
  }
})

test('a report shows only the host of a webhook, because receivers have secrets in the path', async () => {
  for (const url of ['https://user:s3cr3t@hooks.example:8443/services/T0/s3cr3t?key=s3cr3t', 'hooks.example/s3cr3t']) {
    const report = await reportOf(['--insecure', '--webhook', url])
    assert.match(report, /^--webhook (https:\/\/hooks\.example:8443|\*\*\*)\/\*\*\*$/m)
    assert.doesNotMatch(report, /s3cr3t/)
  }
})

test('a report shows no password in the URL of a database, wherever it is', async () => {
  const urls = [
    'postgres://flower:pa/word@db.example/flower',
    'postgres://flower:pa@word@db.example/flower',
    'postgres://flower:5?word@db.example/flower',
    'postgres://flower@db.example/flower?password=pa-word',
    'postgresql+driver://flower:pa/word@db.example/flower',
  ]
  for (const url of urls) {
    const report = await reportOf(['--insecure', '--database', url, '--storage-dir', '/nowhere'])
    assert.match(report, /^--database postgres\S*:\/\/\*\*\*$/m)
    assert.match(report, /^Rejected: /m)
    assert.doesNotMatch(report, /pa[/@-]|word@|-word/)
  }
  const url = 'postgres://flower@db.example/flower?passfile=/nowhere'
  const report = await reportOf(['--insecure', '--database', url, '--storage-dir', '/nowhere'])
  assert.match(report, /^--database postgres:\/\/\*\*\*@db\.example:5432\/flower$/m)
})

test('a report of a SuperLink that cannot start says why, and shows no password and no key', async () => {
  using home = temporaryDirectory()
  writeFileSync(home.file('key.pem'), '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n')
  const report = await reportOf([
    ...['--ssl-certfile', home.file('missing.pem'), '--ssl-ca-certfile', home.file('missing.pem')],
    ...['--ssl-keyfile', home.file('key.pem'), '--ssl-client-crl', 'ftp://user:password@ca.example/list.crl'],
  ])
  assert.match(report, /^Rejected: .*missing\.pem/m)
  assert.match(report, /^--ssl-client-crl ftp:\/\/\*\*\*@ca\.example\/list\.crl$/m)
  assert.match(report, /^--ssl-keyfile: .*key\.pem, \d+ bytes, mode \d+/m)
  assert.doesNotMatch(report, /password|c2VjcmV0/)
})

test('a report names the bucket, and shows no keys', async () => {
  using home = temporaryDirectory()
  writeFileSync(home.file('keys'), '[default]\naws_access_key_id = AKIASECRET\naws_secret_access_key = s3cr3t\n')
  const report = await reportOf([
    ...['--insecure', '--database', home.file('state.db'), '--storage-credentials-file', home.file('keys')],
    ...['--storage', 's3://models/fleet-1?endpoint=https://s3.example&region=eu-central-1'],
  ])
  assert.match(report, /^--storage s3:\/\/models\/fleet-1\?/m)
  assert.doesNotMatch(report, /AKIASECRET|s3cr3t/)
})
