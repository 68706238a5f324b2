import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { TestCa } from '../harness/certificates.ts'
import { Deployment } from '../harness/deployment.ts'
import { run } from '../harness/program.ts'

test('flwr tls check names the first broken link of a connection, and ends with status 1', async () => {
  await using secure = await Deployment.create({
    mutualTls: true,
    async superlinkArguments({ directory }) {
      const policy =
        '[[allow]]\nidentity = "cli"\nroles = ["cli"]\n[[allow]]\nidentity = "ada"\nroles = ["supernode"]\n'
      writeFileSync(directory.file('policy.toml'), policy)
      return ['--ssl-client-policy', directory.file('policy.toml')]
    },
  })
  await using open = await Deployment.create()
  const { ca, directory, controlAddress, fleetAddress, environment } = secure
  const { file } = directory
  await ca.issue('ada')
  const other = await TestCa.create(directory.path, 'other-ca')
  await other.issue('foreign')
  const port = controlAddress.split(':').at(-1)
  const trust = `root-certificates = "${ca.certfile}"`
  const pair = (name: string): string =>
    `client-certificate = "${file(`${name}.pem`)}"\nclient-private-key = "${file(`${name}.key`)}"`
  const at = (address: string, ...lines: string[]): string => [`address = "${address}"`, ...lines].join('\n')
  const cases: readonly (readonly [name: string, lines: string, link: string | null, said: RegExp])[] = [
    ['good', at(controlAddress, trust, pair('cli')), null, /The SuperLink accepts you and lists one federation/],
    ['vacant', at('127.0.0.1:9', trust, pair('cli')), 'address', /No server listens on 127\.0\.0\.1:9/],
    ['no-host', at('nothing.invalid:9093', trust), 'address', /cannot be resolved/],
    ['plain', at(open.controlAddress, trust), 'handshake', /does not speak TLS/],
    [
      'wrong-ca',
      at(controlAddress, `root-certificates = "${other.certfile}"`),
      'handshake',
      /not signed by a trusted CA/,
    ],
    ['wrong-name', at(`[::ffff:127.0.0.1]:${port}`, trust), 'handshake', /is not for that host name/],
    ['no-certificate', at(controlAddress, trust), 'answer', /requires a client certificate and none was presented/],
    ['foreign', at(controlAddress, trust, pair('foreign')), 'answer', /not signed by a CA that this SuperLink trusts/],
    ['no-role', at(controlAddress, trust, pair('ada')), 'answer', /does not grant that role/],
    [
      'fleet',
      at(fleetAddress, trust, pair('cli')),
      'answer',
      /does not serve the Control API|does not grant that role/,
    ],
    ['no-file', at(controlAddress, 'root-certificates = "/nothing.crt"'), 'file', /does not point to a file/],
  ]
  const home = environment.FLWR_HOME as string
  writeFileSync(join(home, 'config.toml'), cases.map(([name, lines]) => `[superlink.${name}]\n${lines}\n`).join(''))
  for (const [name, , link, said] of cases) {
    const shown = await secure.flwr('tls', 'check', name)
    assert.match(shown.said, said, name)
    assert.match(shown.said, link === null ? /All steps succeeded\./ : new RegExp(`stopped at the step '${link}'`))
    assert.equal(shown.status, link === null ? 0 : 1, shown.said)
    const { stdout } = await secure.flwr('tls', 'check', name, '--format', 'json')
    assert.equal(JSON.parse(stdout).broken, link, stdout)
  }

  const skewed = await run('flwr', ['tls', 'check', 'good'], {
    env: {
      ...environment,
      NODE_OPTIONS: `--import ${join(import.meta.dirname, '..', 'harness', 'clock-offset.mjs')}`,
      TEST_CLOCK_OFFSET_MS: String(-20 * 60_000),
    },
  })
  assert.equal(skewed.status, 1, skewed.said)
  assert.match(skewed.said, /clock +FAILED .* 1[12]\d\d s apart: set them by NTP[\s\S]*stopped at the step 'clock'/)
})
