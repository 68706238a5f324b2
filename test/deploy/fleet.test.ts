import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { eventually } from '../harness/program.ts'
import { withoutContainers } from './container.ts'
import { coordinator, nodes, train } from './coordinator.ts'
import { startFleet } from './fleet.ts'
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
