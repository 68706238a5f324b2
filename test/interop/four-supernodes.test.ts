import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { asyncResult, writeAsyncApp } from '../harness/async-app.ts'
import { expectedDigest, writeBilingualApp } from '../harness/bilingual-app.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { withoutPython } from '../harness/python-flower.ts'
import { secureResult, writeSecureApp } from '../harness/secure-app.ts'

const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false

/** How the nodes identify themselves: keys are registered by the `flwr` of the node's own maker. */
const keyNodes = ['1.29', '1.41', 'trellis'] as const

test('Python 1.29, 1.41 and ours on registered keys and ours on a certificate train in one run, also with secure aggregation and asynchronously', {
  skip: withoutPython || needsSshKeygen,
}, async () => {
  await using fleet = await MixedFleet.create({
    superlink: 'trellis',
    python: '1.41',
    superlinkArguments: ['--enable-supernode-auth', '--ssl-client-auth', 'request'],
  })
  const expected = new Map<string, string>()
  await Promise.all(
    keyNodes.map(async (maker) => {
      const key = await fleet.registerKey(maker, `key-${maker}`)
      const node = await fleet.startSupernode(maker, ['--auth-supernode-private-key', key.file])
      assert.match(node.said, new RegExp(`SuperNode ID: ${key.nodeId}\\b`))
      expected.set(key.nodeId, 'key')
    }),
  )
  const { certfile, keyfile } = await fleet.ca.issue('hospital-4', {
    organization: 'Hospital Four',
    units: ['region=eu'],
  })
  const certified = await fleet.startSupernode('trellis', [
    ...['--ssl-client-certfile', certfile, '--ssl-client-keyfile', keyfile],
  ])
  expected.set(/SuperNode ID: (\d+)/.exec(certified.said)?.[1] ?? '', 'certificate')

  const app = writeBilingualApp(fleet.directory.file('app'), { server: 'python', client: 'python' })
  const run = await fleet.flwr('1.41', ['run', app, '--stream', '--run-config', 'nodes=4'])
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /Received 4 results and 0 failures/)
  assert.match(run.said, new RegExp(`digest: ${expectedDigest()}`))

  const secure = writeSecureApp(fleet.directory.file('secure'), { client: 'both', nodes: 4 })
  const hidden = await fleet.flwr('trellis', ['run', secure, '--stream'])
  assert.match(hidden.said, secureResult)
  assert.match(hidden.said, /secure aggregation, unmask: 4 of 4 nodes/)

  const unhurried = writeAsyncApp(fleet.directory.file('unhurried'), { client: 'both', nodes: 4 })
  const asynchronous = await fleet.flwr('trellis', ['run', unhurried, '--stream'])
  assert.match(asynchronous.said, asyncResult)
  // Ours runs the ClientApp in TypeScript, those of Flower the one in Python.
  await certified.line(/trained in typescript/)
  assert.match(asynchronous.said, /node hospital-4 of Hospital Four: \{"region":"eu"\}, online, seen true/)

  const { stdout } = await fleet.flwr('trellis', ['supernode', 'ls', '--format', 'json'])
  const nodes: Record<string, string>[] = JSON.parse(stdout).nodes
  assert.deepEqual(new Map(nodes.map((node) => [node['node-id'] ?? '', node['auth-method'] ?? ''])), expected)
  const moved = nodes.find((node) => node['auth-method'] === 'certificate')
  assert.deepEqual([moved?.identity, moved?.organization], ['hospital-4', 'Hospital Four'])

  // A newcomer with neither is told what it lacks.
  const unregistered = fleet.start('1.41', 'flower-supernode', [
    ...['--root-certificates', fleet.ca.certfile, '--superlink', fleet.fleetAddress],
  ])
  assert.notEqual(await unregistered.end(), 0)
})
