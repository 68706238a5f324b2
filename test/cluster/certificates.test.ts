import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { withoutContainers } from '../deploy/container.ts'
import { coordinator, nodes } from '../deploy/coordinator.ts'
import { startFleet } from '../deploy/fleet.ts'
import { kustomize } from '../deploy/rendered.ts'
import { countingClient } from '../harness/apps.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { writeApp } from '../harness/write-app.ts'
import { startApiServer } from './api-server.ts'
import { ClusterIssuers } from './cluster-issuers.ts'

const overlay = join(import.meta.dirname, '..', '..', 'deploy', 'kubernetes', 'overlays', 'cert-manager')

/** Trains until the certificates are renewed, and three rounds more. */
const trainingServer = `
import { existsSync } from 'node:fs'
import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  let arrays = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
  let left = 3
  for (let round = 1; round <= 5000 && left > 0; round++) {
    if (existsSync('/tmp/renewed')) left--
    const strategy = new FedAvg({ minAvailableNodes: 2, minTrainNodes: 2, minEvaluateNodes: 2 })
    arrays = (await strategy.start(grid, arrays, { numRounds: 1 })).arrays
  }
  log.info(\`weights: \${[...arrays.get('w').values()].join(' ')}\`)
})
`

test("cert-manager's controllers issue the overlay's certificates and renew all of them during a training", {
  skip: withoutContainers,
}, async (t) => {
  using directory = temporaryDirectory()
  using serverFolder = temporaryDirectory()
  await using server = await startApiServer(serverFolder.path)
  await server.createKinds()
  server.startCertManager()
  server.ensure(['apply', '-k', overlay])
  const issuers = new ClusterIssuers(server)
  await using fleet = await startFleet(kustomize('overlays/cert-manager'), directory.path, {
    issuers,
    // A name in the certificate: it has no address of this machine.
    host: 'localhost',
  })

  const roots = issuers.secrets.get('trellis-superlink-ca')?.['tls.crt'] as string
  const flwr = coordinator(fleet, roots, directory)

  await t.test('the certificates have the usages, names and lifetimes that the overlay asks for', () => {
    const certificate = (name: string): X509Certificate =>
      new X509Certificate(issuers.secrets.get(`trellis-${name}-tls`)?.['tls.crt'] as string)
    const [serverAuth, clientAuth] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']
    assert.deepEqual(certificate('superlink').keyUsage, [serverAuth])
    assert.match(certificate('superlink').subjectAltName as string, /DNS:trellis-superlink\.trellis\.svc\b/)
    for (const [name, organization, hours] of [
      ['supernode-site-a', 'SuperNodes', 24],
      ['supernode-site-b', 'SuperNodes', 24],
      ['coordinator', 'Coordinators', 24],
    ] as const) {
      const { keyUsage, subject, validFromDate, validToDate } = certificate(name)
      assert.deepEqual(keyUsage, [clientAuth], name)
      assert.match(subject, new RegExp(`^O=${organization}$`, 'm'))
      assert.equal((validToDate.getTime() - validFromDate.getTime()) / 3_600_000, hours, name)
    }
  })

  await t.test('a run misses no reply while every certificate is renewed', async () => {
    const before = await nodes(flwr)
    assert.deepEqual([...before.keys()].sort(), ['site-a', 'site-b'])
    const app = writeApp(directory.file('testapp'), {
      server: trainingServer,
      client: countingClient,
      config: 'pause-ms = 200',
    })
    const training = flwr('run', app, '--stream')
    await fleet.programs.get('trellis-supernode-site-a/superexec')?.line(/Launching an app/)
    const names = ['superlink', 'supernode-site-a', 'supernode-site-b', 'coordinator']
    await Promise.all(names.map((name) => fleet.renew(`trellis-${name}-tls`)))
    await fleet.programs.get('trellis-superlink/superlink')?.line(/Replaced the server certificate/)
    for (const site of ['site-a', 'site-b'])
      await fleet.programs.get(`trellis-supernode-${site}/supernode`)?.line(/Replaced the client certificate/)
    // The folder /tmp of the ServerApp.
    writeFileSync(directory.file('trellis-superlink/volumes/superexec-tmp/renewed'), '')
    const { status, said } = await training
    assert.equal(status, 0, said)
    const rounds = Number(/weights: (\d+) /.exec(said)?.[1])
    assert.ok(rounds > 3, said)
    assert.equal(said.match(/Received 2 results and 0 failures/g)?.length, rounds * 2, said)

    const after = await nodes(flwr)
    for (const [identity, { id, serial }] of before) {
      assert.equal(after.get(identity)?.id, id, identity)
      assert.notEqual(after.get(identity)?.serial, serial, identity)
    }
    for (const [name, program] of fleet.programs) assert.equal(program.hasEnded, false, name)
  })

  await t.test('each renewal of a SuperNode is logged once', () => {
    const said = fleet.programs.get('trellis-superlink/superlink')?.said ?? ''
    assert.equal(said.match(/A SuperNode shows a new certificate/g)?.length, 2, said)
  })
})
