import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { run } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'
import { withoutContainers } from './container.ts'
import { startFleet } from './fleet.ts'
import { kustomize, withoutTools } from './rendered.ts'

test('the fleet of the overlay cert-manager trains with its own arguments, volumes, users and read-only roots', {
  skip: withoutTools || withoutContainers,
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

  const coordinator = fleet.issuers.secrets.get('trellis-coordinator-tls')
  mkdirSync(directory.file('home'))
  for (const [name, text] of Object.entries(coordinator ?? {}))
    writeFileSync(directory.file(`home/${name}`), text, { mode: 0o600 })
  const roots = fleet.issuers.secrets.get('trellis-superlink-ca')?.['tls.crt'] as string
  writeFileSync(directory.file('home/superlink-ca.crt'), roots)
  writeFileSync(
    directory.file('home/config.toml'),
    `[superlink]\ndefault = "cluster"\n[superlink.cluster]\naddress = "${fleet.controlAddress}"
root-certificates = "${directory.file('home/superlink-ca.crt')}"
client-certificate = "${directory.file('home/tls.crt')}"\nclient-private-key = "${directory.file('home/tls.key')}"\n`,
  )
  const flwr = (...args: string[]): ReturnType<typeof run> =>
    run('flwr', args, { cwd: directory.path, env: { FLWR_HOME: directory.file('home'), NO_COLOR: '1' } })
  const app = writeApp(directory.file('testapp'), {
    server: countingServer,
    client: countingClient,
    config: 'nodes = 2',
  })
  const trained = await flwr('run', app, '--stream')
  assert.equal(trained.status, 0, trained.said)
  assert.match(trained.said, /weights: 2 12/)
  const listed = await flwr('supernode', 'list', '--format', 'json')
  assert.match(listed.stdout, /"site-a"[\s\S]*"site-b"|"site-b"[\s\S]*"site-a"/)
})
