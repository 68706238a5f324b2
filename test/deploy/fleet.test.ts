import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { run } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'
import { withoutContainers } from './container.ts'
import { type Fleet, startFleet } from './fleet.ts'
import { kustomize, withoutTools } from './rendered.ts'

const skip = withoutTools || withoutContainers

test('the fleet of the overlay cert-manager trains with its own arguments, volumes, users and read-only roots', {
  skip,
}, async () => {
  using directory = temporaryDirectory()
  await using fleet = await startFleet(kustomize('overlays/cert-manager'), directory.path)
  for (const { container, health, probes } of fleet.probed)
    for (const { httpGet } of probes) {
      const { status } = await fetch(`http://${health}${httpGet.path}`)
      assert.equal(status, 200, `${container} ${httpGet.path}`)
    }
  for (const [name, { pid }] of fleet.programs) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.match(status, /^Uid:\t49999\t49999\t/m, name)
    assert.match(status, /^CapBnd:\t0+$/m, name)
    assert.match(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), / \/ \/ ro,\S* .*tmpfs/, name)
  }
  const roots = fleet.issuers.secrets.get('trellis-superlink-ca')?.['tls.crt'] as string
  const flwr = coordinator(fleet, roots, directory)
  await trains(flwr, directory)
})

test('on OpenShift the fleet trains as a user that nobody knows, with a certificate of the service CA', {
  skip,
}, async () => {
  using directory = temporaryDirectory()
  await using fleet = await startFleet(kustomize('overlays/openshift-service-ca'), directory.path)
  for (const [name, { pid }] of fleet.programs)
    assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^Uid:\t1000680000\t[\s\S]*^Gid:\t0\t/m, name)
  await trains(coordinator(fleet, fleet.issuers.serviceCaPem, directory), directory)
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

/** Two rounds with the nodes of both sites. */
async function trains(flwr: Flwr, { file }: ReturnType<typeof temporaryDirectory>): Promise<void> {
  const sources = { server: countingServer, client: countingClient, config: 'nodes = 2' }
  const trained = await flwr('run', writeApp(file('testapp'), sources), '--stream')
  assert.equal(trained.status, 0, trained.said)
  assert.match(trained.said, /weights: 2 12/)
  const listed = await flwr('supernode', 'list', '--format', 'json')
  for (const site of ['site-a', 'site-b']) assert.ok(listed.stdout.includes(`"${site}"`), listed.said)
}
