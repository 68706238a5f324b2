import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { eventually, run } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'
import { withoutContainers } from './container.ts'
import { type Fleet, startFleet } from './fleet.ts'
import { kustomize, withoutTools } from './rendered.ts'

const skip = withoutTools || withoutContainers

test('the fleet of the overlay cert-manager', { skip }, async (t) => {
  using directory = temporaryDirectory()
  await using fleet = await startFleet(kustomize('overlays/cert-manager'), directory.path)

  await t.test('runs with its own arguments and volumes as user 49999, in read-only roots, without privileges', () => {
    assert.equal(fleet.programs.size, 6)
    for (const [name, { pid }] of fleet.programs) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      assert.match(status, /^Uid:\t49999\t49999\t/m, name)
      assert.match(status, /^CapBnd:\t0+$/m, name)
      assert.match(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), / \/ \/ ro,\S* .*tmpfs/, name)
    }
  })

  await t.test('responds to its probes', async () => {
    assert.equal(fleet.probed.length, 6)
    for (const { container, health, probes } of fleet.probed)
      for (const { httpGet } of probes) {
        const { status } = await fetch(`http://${health}${httpGet.path}`)
        assert.equal(status, 200, `${container} ${httpGet.path}`)
      }
  })

  await t.test('tells Prometheus of its certificates', async () => {
    const read = async (name: string): Promise<string> => {
      const found = fleet.probed.find(({ container }) => container === name)
      return (await fetch(`http://${found?.health}/metrics`)).text()
    }
    // A day, less the moments since it was issued.
    const aDay = /trellis_certificate_expires_in_seconds\{certificate="(own|ca|peer)",subject="([^"]*)"\} 8[56]\d{3}/g
    const told = async (name: string): Promise<string[]> =>
      [...(await read(name)).matchAll(aDay)].map(([, certificate, subject]) => `${certificate} ${subject}`).sort()
    assert.deepEqual(await told('trellis-supernode-site-a supernode'), ['own CN=site-a,O=SuperNodes'])
    assert.deepEqual(await told('trellis-superlink superlink'), [
      'ca CN=Trellis client CA',
      'own ',
      'peer site-a',
      'peer site-b',
    ])
    assert.match(
      await read('trellis-superlink superlink'),
      /^trellis_connections\{listener="Fleet API",method="certificate"\} [2-9]/m,
    )
  })

  await t.test('trains on while cert-manager and kubelet renew every certificate, with new keys', async () => {
    const roots = fleet.issuers.secrets.get('trellis-superlink-ca')?.['tls.crt'] as string
    const flwr = coordinator(fleet, roots, directory)
    const before = await nodes(flwr)
    let hasEnded = false
    const training = train(flwr, directory, { rounds: 12, pauseMs: 400 }).finally(() => {
      hasEnded = true
    })
    await fleet.programs.get('trellis-supernode-site-a/superexec')?.line(/Launching an app/)
    for (const name of ['superlink', 'supernode-site-a', 'supernode-site-b']) await fleet.renew(`trellis-${name}-tls`)
    await fleet.programs.get('trellis-superlink/superlink')?.line(/Replaced the server certificate/)
    for (const site of ['site-a', 'site-b'])
      await fleet.programs.get(`trellis-supernode-${site}/supernode`)?.line(/Replaced the client certificate/)
    assert.equal(hasEnded, false, 'the run ended before the certificates were renewed')
    await training
    const superlink = fleet.probed.find(({ container }) => container === 'trellis-superlink superlink')
    const metrics = await (await fetch(`http://${superlink?.health}/metrics`)).text()
    assert.match(metrics, /^trellis_tls_reloads_total\{files="server certificate",result="replaced"\} 1$/m)
    assert.match(metrics, /^grpc_server_tls_handshakes_total\{listener="Fleet API",.*="success"\} [4-9]/m)

    const after = await nodes(flwr)
    assert.deepEqual([...after.keys()].sort(), ['site-a', 'site-b'])
    for (const [identity, { id, serial }] of before) {
      assert.equal(after.get(identity)?.id, id, identity)
      assert.notEqual(after.get(identity)?.serial, serial, identity)
    }
    for (const [name, program] of fleet.programs) assert.equal(program.hasEnded, false, name)
  })
})

test('on OpenShift the fleet trains as a user without a name, with a certificate of the service CA', {
  skip,
}, async () => {
  using directory = temporaryDirectory()
  await using fleet = await startFleet(kustomize('overlays/openshift-service-ca'), directory.path)
  for (const [name, { pid }] of fleet.programs)
    assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^Uid:\t1000680000\t[\s\S]*^Gid:\t0\t/m, name)
  const flwr = coordinator(fleet, fleet.issuers.serviceCaPem, directory)
  await train(flwr, directory, { rounds: 1, pauseMs: 0 })
  assert.deepEqual([...(await nodes(flwr)).keys()].sort(), ['site-a', 'site-b'])
})

test('SuperNodes with SVIDs of a CSI driver are let in by the policy of that overlay, and known by their SPIFFE IDs', {
  skip,
}, async () => {
  using directory = temporaryDirectory()
  await using fleet = await startFleet(kustomize('overlays/spiffe-csi'), directory.path)
  const roots = fleet.issuers.secrets.get('trellis-superlink-ca')?.['tls.crt'] as string
  const flwr = coordinator(fleet, roots, directory)
  const account = 'spiffe://fl.example/ns/trellis/sa/trellis-supernode'
  const known = await eventually('both SuperNodes have joined', async () => {
    const found = await nodes(flwr)
    return found.size === 2 && [...found.keys()].sort()
  })
  assert.deepEqual(known, [`${account}-site-a`, `${account}-site-b`])
})

type Flwr = (...args: string[]) => ReturnType<typeof run>

/** `flwr` of a person with the coordinator's certificate. */
function coordinator(fleet: Fleet, rootsPem: string, { file, path }: ReturnType<typeof temporaryDirectory>): Flwr {
  mkdirSync(file('home'))
  const pair = fleet.issuers.secrets.get('trellis-coordinator-tls') ?? {}
  for (const [name, text] of Object.entries(pair)) writeFileSync(file(`home/${name}`), text, { mode: 0o600 })
  writeFileSync(file('home/superlink-ca.crt'), rootsPem)
  const lines = [
    ...['[superlink]', 'default = "cluster"', '[superlink.cluster]', `address = "${fleet.controlAddress}"`],
    `root-certificates = "${file('home/superlink-ca.crt')}"`,
    `client-certificate = "${file('home/tls.crt')}"`,
    `client-private-key = "${file('home/tls.key')}"`,
  ]
  writeFileSync(file('home/config.toml'), `${lines.join('\n')}\n`)
  return (...args) => run('flwr', args, { cwd: path, env: { FLWR_HOME: file('home'), NO_COLOR: '1' } })
}

/** The SuperNodes that are online, by their identities. */
async function nodes(flwr: Flwr): Promise<Map<string, { id: string; serial: string }>> {
  const { stdout } = await flwr('supernode', 'list', '--format', 'json')
  const listed = JSON.parse(stdout).nodes as Record<string, string>[]
  const online = listed.filter(({ status }) => status === 'online')
  return new Map(
    online.map((node) => [
      node.identity as string,
      { id: node['node-id'] as string, serial: node['certificate-serial'] as string },
    ]),
  )
}

/** Trains with the nodes of both sites; not one reply may be missing. */
async function train(
  flwr: Flwr,
  { file }: ReturnType<typeof temporaryDirectory>,
  { rounds, pauseMs }: { rounds: number; pauseMs: number },
): Promise<void> {
  const config = `nodes = 2\nrounds = ${rounds}\npause-ms = ${pauseMs}`
  const app = writeApp(file('testapp'), { server: countingServer, client: countingClient, config })
  const { status, said } = await flwr('run', app, '--stream')
  assert.equal(status, 0, said)
  assert.ok(said.includes(`weights: ${rounds} ${rounds + 10}`), said)
  assert.equal(said.match(/Received 2 results and 0 failures/g)?.length, rounds * 2, said)
}
