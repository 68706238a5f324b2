import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chartCases, sites } from './chart-cases.ts'
import { argumentsOf, helmTemplate, kustomize, podsOf, type Resource, withoutTools } from './rendered.ts'
import { argumentFaults, certificateFaults, hardeningFaults, referenceFaults, selectorFaults } from './rules.ts'
import { faultsOf } from './schemas.ts'

for (const [name, { values, given, pods: count }] of Object.entries(chartCases)) {
  test(`the chart makes valid, hardened resources with options that our programs have: ${name}`, {
    skip: withoutTools,
  }, async () => {
    const resources = helmTemplate(values)
    const pods = podsOf(resources)
    assert.equal(pods.length, count)
    assert.deepEqual(await faultsOf(resources), [])
    assert.deepEqual(pods.flatMap(argumentFaults), [])
    assert.deepEqual(pods.flatMap(hardeningFaults), [])
    assert.deepEqual(referenceFaults(resources, given), [])
    assert.deepEqual(selectorFaults(resources), [])
    assert.deepEqual(certificateFaults(resources), [])
  })
}

test('a SuperLink that fetches lists and asks responders is told where, and may go there', {
  skip: withoutTools,
}, () => {
  const { values } = chartCases['revocation lists and responders elsewhere'] as { values: object }
  const resources = helmTemplate(values)
  const [superlink] = podsOf(resources)[0]?.spec.containers ?? []
  const args = superlink ? argumentsOf(superlink) : []
  for (const arg of [
    '--ssl-client-crl=http://ca.example/root.crl,http://ca.example/site.crl',
    '--ssl-client-ocsp=strict',
    '--ssl-client-ocsp-url=http://o',
  ])
    assert.ok(args.includes(arg), arg)
  const policy = resources.find(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name.endsWith('superlink'))
  const rules = (policy?.spec as { egress: unknown[] } | undefined)?.egress ?? []
  assert.deepEqual(rules.at(-1), { ports: [{ port: 8080, protocol: 'TCP' }] })
  assert.throws(() => helmTemplate({ revocation: { ocsp: 'on' } }), /revocation\/ocsp/)
})

test('of several SuperLinks one serves, and standbys hold up neither upgrades nor evictions', {
  skip: withoutTools,
}, () => {
  const { values } = chartCases['three SuperLinks on a database server and a bucket'] as { values: object }
  const resources = helmTemplate(values)
  const specOf = (wanted: string) => resources.find(({ kind }) => kind === wanted)?.spec as Record<string, unknown>
  const { replicas, podManagementPolicy, updateStrategy } = specOf('StatefulSet')
  // A standby is never ready: Kubernetes would wait for it before it starts or replaces the next pod.
  assert.deepEqual([replicas, podManagementPolicy, updateStrategy], [3, 'Parallel', { type: 'OnDelete' }])
  const { minAvailable, unhealthyPodEvictionPolicy } = specOf('PodDisruptionBudget')
  assert.deepEqual([minAvailable, unhealthyPodEvictionPolicy], [1, 'AlwaysAllow'])
  const [superlink] = podsOf(resources)[0]?.spec.containers ?? []
  assert.equal(superlink?.readinessProbe?.httpGet.path, '/readyz')
  const args = superlink ? argumentsOf(superlink) : []
  for (const arg of ['--database=$(TRELLIS_DATABASE)', '--storage-ca-certfile=/app/bucket/ca.crt'])
    assert.ok(args.includes(arg), arg)
  const { egress } = specOf('NetworkPolicy') as { egress: unknown[] }
  assert.deepEqual(
    egress.slice(-2),
    [5432, 9000].map((port) => ({ ports: [{ port, protocol: 'TCP' }] })),
  )
})

test('a SuperLink that moves to a database server finds the objects that its SQLite file had', {
  skip: withoutTools,
}, () => {
  const { values } = chartCases['one SuperLink on a database server'] as { values: object }
  const [superlink] = podsOf(helmTemplate(values))[0]?.spec.containers ?? []
  assert.ok(superlink && argumentsOf(superlink).includes('--storage-dir=/app/state/state.db.objects'))
  const [before] = podsOf(helmTemplate({}))[0]?.spec.containers ?? []
  assert.ok(before && argumentsOf(before).includes('--database=/app/state/state.db'))
})

test('a release or site whose StatefulSet name is too long to get pods is refused with the limit', {
  skip: withoutTools,
}, () => {
  // The release is called trellis.
  const name = (length: number): string => 'x'.repeat(length - 'trellis-supernode-'.length)
  assert.ok(helmTemplate({ sites: [{ name: name(52) }] }).length > 0)
  assert.throws(
    () => helmTemplate({ sites: [{ name: name(53) }] }),
    /has 53 characters.*no pods for names of more than 52/,
  )
})

test('chart and overlay deploy the same pods', { skip: withoutTools }, () => {
  const alike = (resources: Resource[]): Record<string, object> =>
    Object.fromEntries(
      podsOf(resources).map(({ name, claims, spec }) => {
        // The overlay has the address in a variable, the chart in the argument.
        const containers = spec.containers.map((container) => ({
          ...container,
          env: container.name === 'supernode' ? [] : container.env,
          args: argumentsOf(container),
        }))
        return [name, { claims, spec: { ...spec, containers } }]
      }),
    )
  const chart = alike(helmTemplate({ sites, superlinkAddress: 'trellis-superlink:9092' }))
  assert.equal(Object.keys(chart).length, 3)
  assert.deepEqual(chart, alike(kustomize('overlays/cert-manager')))
})

test('chart and overlay have the same alerts', { skip: withoutTools }, () => {
  const rules = (resources: Resource[]): unknown => resources.find(({ kind }) => kind === 'PrometheusRule')?.spec
  const overlay = rules(kustomize('overlays/cert-manager'))
  assert.ok(overlay)
  assert.deepEqual(rules(helmTemplate({ monitoring: { enabled: true } })), overlay)
})

test('values that cannot be meant are refused with a reason', { skip: withoutTools }, () => {
  const refused = (values: object, reason: RegExp): void => {
    assert.throws(() => helmTemplate(values), reason)
  }
  refused({ superlnk: {} }, /superlnk/)
  refused({ sites: [{ name: 'Site A' }] }, /name.*pattern|does not match pattern/)
  refused({ superlink: { enabled: false }, sites }, /superlinkAddress says where the SuperLink is/)
  refused({ certificates: { server: 'openshift' } }, /certificates\/server/)
  refused({ superlink: { extraArgs: ['insecure'] } }, /extraArgs/)
  const database = { secret: 'state' }
  for (const superlink of [{ replicas: 2 }, { replicas: 2, database }])
    refused({ superlink }, /replicas above 1 needs superlink.database.secret and superlink.bucket.url/)
  refused({ superlink: { database, bucket: { url: 's3://models' } } }, /bucket.url needs superlink.bucket.secret/)
  refused(
    { openshift: { enabled: true, fleetHost: 'fleet.example.com' }, certificates: { server: 'service-ca' } },
    /the service CA signs for names of the cluster alone/,
  )
})

test('what a site is given reaches its containers', { skip: withoutTools }, () => {
  const resources = helmTemplate((chartCases['sites alone, with data and options'] as { values: object }).values)
  const [pod] = podsOf(resources)
  const [supernode, superexec] = pod?.spec.containers ?? []
  assert.ok(supernode && superexec)
  const args = argumentsOf(supernode)
  for (const arg of [
    '--superlink=fleet.example.com:443',
    '--node-config=partition-id=0 num-partitions=2 name="a b"',
    '--max-retries=100',
  ])
    assert.ok(args.includes(arg), arg)
  // The data is where apps run, and keys are not.
  assert.deepEqual(superexec.volumeMounts.map(({ name }) => name).sort(), ['apps', 'data', 'superexec-tmp'])
  assert.ok(supernode.volumeMounts.every(({ name }) => name !== 'data'))
  const named = (kind: string): Resource[] => resources.filter((resource) => resource.kind === kind)
  const [certificate] = named('Certificate').map(({ spec }) => spec as { commonName: string })
  assert.equal(certificate?.commonName, 'Hospital A, ward 7')
  assert.deepEqual(named('Issuer'), [])
})
