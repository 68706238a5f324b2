import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { withoutOwnNetwork } from '../harness/own-network.ts'
import { pythonEnvironment, withoutPython } from '../harness/python-flower.ts'
import { readGuide } from '../harness/read-guide.ts'
import { stunnelCommand, withoutStunnel } from '../harness/stunnel.ts'

/** The guides that need programs of Python Flower, in an environment that the reader calls `~/flower`. */

const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false
const skip = withoutOwnNetwork || withoutPython || needsSshKeygen
const flower = `ln -s '${pythonEnvironment('1.29')}' ~/flower`
const next = pythonEnvironment('1.41')

/** What a running fleet of Flower has: certificates, the key of a SuperNode, and a connection to each SuperLink. */
const fleetOfFlower = (...connections: readonly (readonly [name: string, port: number])[]): string => `
${flower}
flwr pki init certificates
flwr pki issue server --server --dns fl.example --dns localhost --ip 127.0.0.1
cp certificates/* .
ssh-keygen -q -t ecdsa -b 384 -N "" -f node-key
mkdir -p "\${FLWR_HOME:-$HOME/.flwr}"
cat >> "\${FLWR_HOME:-$HOME/.flwr}/config.toml" <<END
${connections.map(([name, port]) => `[superlink.${name}]\naddress = "fl.example:${port}"\nroot-certificates = "$PWD/ca.crt"`).join('\n')}
END
`
const tls = '--ssl-ca-certfile ca.crt --ssl-certfile server.pem --ssl-keyfile server.key --enable-supernode-auth'
const untilOnline = (connection: string): string =>
  `until flwr supernode ls ${connection} | grep online; do sleep 1; done\n`

test('the commands of the guide from keys to certificates can be pasted into an empty folder', {
  skip: skip || withoutStunnel,
}, async () => {
  using directory = temporaryDirectory()
  writeFileSync(directory.file('stunnel'), stunnelCommand(), { mode: 0o755 })
  const said = await readGuide({
    guide: 'docs/guides/from-keys-to-certificates.md',
    ...{ withFlwrHome: true, hosts: ['superlink.example'] },
    path: [directory.path],
    before: [{ text: flower }],
    // Node 1 is back, and the SuperNode of Python behind the tunnel has joined.
    after: 'until [ "$(flwr supernode ls fleet-with-certificate | grep -c online)" = 2 ]; do sleep 1; done',
  })
  assert.match(said, /"auth-method": "certificate"/)
})

test('the commands of the guide for moving a fleet can be pasted where a fleet of Flower runs', { skip }, async () => {
  const said = await readGuide({
    guide: 'docs/guides/moving-a-fleet.md',
    ...{ withFlwrHome: false, hosts: ['fl.example'] },
    before: [
      { text: fleetOfFlower(['fleet', 9093]) },
      { text: `~/flower/bin/flower-superlink ${tls} --database state.db`, terminal: 'flower-superlink' },
      { text: 'flwr supernode register node-key.pub fleet' },
    ],
    after: untilOnline('fleet'),
  })
  assert.match(said, /^\d+ .*online/m)
})

test("the commands of the guide for Flower's servers can be pasted where such servers run", { skip }, async () => {
  const process = '--isolation process'
  const said = await readGuide({
    guide: 'docs/guides/at-flowers-servers.md',
    ...{ withFlwrHome: true, hosts: ['fl.example'] },
    before: [
      { text: fleetOfFlower(['of-1-29', 9093], ['of-1-41', 8000]) },
      { text: `~/flower/bin/flower-superlink ${tls} ${process} --database 29.db`, terminal: 'SuperLink of 1.29' },
      {
        text: `'${next}/bin/flower-superlink' ${tls} ${process} --host 0.0.0.0 --database 41.db`,
        terminal: 'SuperLink of 1.41',
      },
      { text: 'for name in of-1-29 of-1-41; do flwr supernode register node-key.pub $name; done' },
    ],
    after: untilOnline('of-1-29') + untilOnline('of-1-41'),
  })
  assert.equal(said.match(/^\d+ .*online/gm)?.length, 2)
})
