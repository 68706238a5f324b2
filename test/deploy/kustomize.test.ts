import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { argumentsOf, helmTemplate, kustomize, podsOf, type Resource, withoutTools } from './rendered.ts'
import { argumentFaults, certificateFaults, hardeningFaults, referenceFaults, selectorFaults } from './rules.ts'
import { faultsOf } from './schemas.ts'

const folder = join(import.meta.dirname, '..', '..', 'deploy', 'kubernetes')
/** What a person makes from the CAs, as the guide says; with trust-manager or OpenShift's service CA others do. */
const bundles = ['ConfigMap trellis-superlink-ca', 'ConfigMap trellis-client-ca']
const overlays = { 'cert-manager': bundles, 'openshift-service-ca': bundles.slice(1), 'spiffe-csi': bundles }

/** The fleet of cert-manager with these components. */
function withComponents(...components: readonly string[]): Resource[] {
  using directory = temporaryDirectory()
  const path = (name: string): string => relative(directory.path, join(folder, name))
  const kustomization = {
    kind: 'Kustomization',
    namespace: 'trellis',
    resources: [path('overlays/cert-manager')],
    components: components.map((name) => path(`components/${name}`)),
  }
  writeFileSync(directory.file('kustomization.yaml'), JSON.stringify(kustomization))
  return kustomize(directory.path)
}

for (const [overlay, given] of Object.entries(overlays)) {
  test(`the overlay ${overlay} is valid, hardened, and starts our programs with options that they have`, {
    skip: withoutTools,
  }, async () => {
    const resources = kustomize(`overlays/${overlay}`)
    const pods = podsOf(resources)
    assert.deepEqual(pods.map(({ name }) => name).sort(), [
      'trellis-superlink',
      'trellis-supernode-site-a',
      'trellis-supernode-site-b',
    ])
    assert.deepEqual(await faultsOf(resources), [])
    assert.deepEqual(pods.flatMap(argumentFaults), [])
    assert.deepEqual(pods.flatMap(hardeningFaults), [])
    assert.deepEqual(referenceFaults(resources, given), [])
    assert.deepEqual(selectorFaults(resources), [])
    assert.deepEqual(certificateFaults(resources), [])
  })
}

test('the components for trust-manager and for OpenShift routes are valid beside a fleet', {
  skip: withoutTools,
}, async () => {
  const resources = withComponents('trust-manager', 'openshift-routes')
  const kinds = new Set(resources.map(({ kind }) => kind))
  assert.ok(kinds.has('Route') && kinds.has('Bundle'))
  assert.deepEqual(await faultsOf(resources), [])
  const strange = resources.map((one) =>
    one.kind === 'Route' ? { ...one, spec: { ...(one.spec as object), hosts: 1 } } : one,
  )
  assert.match((await faultsOf(strange)).join('\n'), /Route trellis-\S+: \/spec must NOT have additional properties/)
  // The bundles are made here.
  assert.deepEqual(referenceFaults(resources, []), [])
})

test('the component for PostgreSQL makes the same SuperLinks as the chart', { skip: withoutTools }, async () => {
  const resources = withComponents('postgresql')
  assert.deepEqual(await faultsOf(resources), [])
  assert.deepEqual(referenceFaults(resources, [...bundles, 'Secret trellis-database', 'Secret trellis-bucket']), [])
  const url = 's3://models/trellis?endpoint=https://s3.example.com&region=us-east-1'
  const values = {
    superlink: { replicas: 3, database: { secret: 'trellis-database' }, bucket: { url, secret: 'trellis-bucket' } },
  }
  const partsOf = (all: Resource[]) => {
    const pod = podsOf(all).find(({ name }) => name === 'trellis-superlink')
    const [container] = pod?.spec.containers ?? []
    assert.ok(pod && container)
    assert.deepEqual([argumentFaults(pod), hardeningFaults(pod)], [[], []])
    const specOf = (wanted: string) =>
      all.find(({ kind, metadata }) => kind === wanted && metadata.name === 'trellis-superlink')?.spec
    const { replicas, podManagementPolicy, updateStrategy } = specOf('StatefulSet') as Record<string, unknown>
    const { selector, ...budget } = specOf('PodDisruptionBudget') as Record<string, unknown>
    assert.ok(selector)
    const args = argumentsOf(container).filter((arg) => /^--(storage|database=\$)/.test(arg))
    const volumes = pod.spec.volumes.filter(({ secret }) => secret)
    return { replicas, podManagementPolicy, updateStrategy, budget, volumes, env: container.env, args: args.toSorted() }
  }
  assert.deepEqual(partsOf(resources), partsOf(helmTemplate(values)))
})

test('the component for revocation lists mounts what a person keeps in a ConfigMap, as the chart does', {
  skip: withoutTools,
}, async () => {
  const resources = withComponents('client-crl')
  assert.deepEqual(await faultsOf(resources), [])
  assert.deepEqual(referenceFaults(resources, [...bundles, 'ConfigMap trellis-client-crl']), [])
  const superlinkOf = (all: Resource[]) => podsOf(all).find(({ name }) => name === 'trellis-superlink')?.spec
  const [ours, charts] = [
    superlinkOf(resources),
    superlinkOf(helmTemplate({ revocation: { crlConfigMap: 'trellis-client-crl' } })),
  ]
  assert.ok(ours && charts)
  const crlOf = ({ volumes, containers: [container] }: typeof ours) => [
    volumes.find(({ name }) => name === 'crl'),
    container?.volumeMounts.find(({ name }) => name === 'crl'),
    container && argumentsOf(container).includes('--ssl-client-crl=/app/crl'),
  ]
  assert.deepEqual(crlOf(ours), [
    { name: 'crl', configMap: { name: 'trellis-client-crl' } },
    { name: 'crl', mountPath: '/app/crl', readOnly: true },
    true,
  ])
  assert.deepEqual(crlOf(charts), crlOf(ours))
})

test('on OpenShift the service CA gives the server certificate and its bundle, and users come from the namespace', {
  skip: withoutTools,
}, () => {
  const resources = kustomize('overlays/openshift-service-ca')
  const certificates = resources.filter(({ kind }) => kind === 'Certificate').map(({ metadata }) => metadata.name)
  assert.deepEqual(certificates.sort(), [
    'trellis-client-ca',
    'trellis-coordinator',
    'trellis-supernode-site-a',
    'trellis-supernode-site-b',
  ])
  for (const pod of podsOf(resources)) {
    assert.equal('runAsUser' in pod.spec.securityContext, false, pod.name)
    const [, trust] = pod.spec.volumes.find(({ name }) => name === 'certificates')?.projected?.sources ?? []
    assert.deepEqual(trust?.configMap, {
      name: 'trellis-superlink-ca',
      items: [{ key: 'service-ca.crt', path: 'superlink-ca.crt' }],
    })
    const [container] = pod.spec.containers
    // The service CA signs for <service>.<namespace>.svc alone.
    if (container?.name === 'supernode')
      assert.ok(argumentsOf(container).includes('--superlink=trellis-superlink.trellis.svc:9092'))
  }
})

test('metrics are open to the namespace that reads them, and DNS is where it listens', { skip: withoutTools }, () => {
  const policies = (resources: Resource[]): string[] =>
    resources.filter(({ kind }) => kind === 'NetworkPolicy').map(({ spec }) => JSON.stringify(spec))
  const plain = policies(kustomize('overlays/cert-manager'))
  const openshift = [
    ...policies(kustomize('overlays/openshift-service-ca')),
    ...policies(helmTemplate({ openshift: { enabled: true }, sites: [{ name: 'a' }] })),
  ]
  assert.deepEqual([plain.length, openshift.length], [3, 5])
  for (const text of plain) assert.match(text, /(?=.*"monitoring")(?=.*"kube-system")/)
  for (const text of openshift) {
    assert.match(text, /"openshift-user-workload-monitoring"/)
    assert.match(text, /"openshift-dns"/)
    assert.doesNotMatch(text, /"monitoring"|"kube-system"|"port":53\b/)
  }
})

test('the container of the apps mounts neither certificates nor state', { skip: withoutTools }, () => {
  const containers = podsOf(kustomize('overlays/cert-manager')).flatMap(({ spec }) => spec.containers)
  const apps = containers.filter(({ name }) => name === 'superexec')
  assert.equal(apps.length, 3)
  for (const { volumeMounts } of apps)
    assert.deepEqual(volumeMounts.map(({ name }) => name).sort(), ['apps', 'superexec-tmp'])
})

test('the checks find what is wrong', { skip: withoutTools }, async () => {
  const text = JSON.stringify(kustomize('overlays/cert-manager'))
  const change = (...changes: readonly (readonly [from: string, to: string])[]): Resource[] => {
    const changed = changes.reduce((before, [from, to]) => {
      assert.ok(before.includes(from), from)
      return before.replace(from, to)
    }, text)
    return JSON.parse(changed)
  }
  const faults = await faultsOf(
    change(
      ['"readOnlyRootFilesystem"', '"readOnlyRootFileSystem"'],
      ['"replicas":1', '"replicas":"one"'],
      ['"client auth"', '"clientAuth"'],
      ['"renewBefore"', '"renew-before"'],
      ['"kind":"PodDisruptionBudget"', '"kind":"PodDisruptionBudge"'],
    ),
  )
  for (const fault of [
    /StatefulSet trellis-\S+: .*readOnlyRootFileSystem/,
    /StatefulSet trellis-superlink: .*replicas must be integer/,
    /Certificate trellis-\S+: .*clientAuth/,
    /Certificate trellis-\S+: .*renew-before/,
    /PodDisruptionBudge trellis/,
  ])
    assert.match(faults.join('\n'), fault)

  const rules = (from: string, to: string): string => {
    const resources = change([from, to])
    const pods = podsOf(resources)
    return [
      ...pods.flatMap(argumentFaults),
      ...pods.flatMap(hardeningFaults),
      ...referenceFaults(resources, bundles),
      ...selectorFaults(resources),
      ...certificateFaults(resources),
    ].join('\n')
  }
  assert.match(rules('--ssl-client-policy=', '--ssl-client-polcy='), /unknown option '--ssl-client-polcy/)
  assert.match(rules('/app/certificates/tls.crt', '/app/certificates/server.crt'), /has no server\.crt/)
  assert.match(rules('--database=/app/state', '--database=/app/data'), /is in no volume/)
  assert.match(
    rules('"secretName":"trellis-superlink-tls"', '"secretName":"other"'),
    /nothing makes Secret trellis-superlink-tls/,
  )
  assert.match(rules('"targetPort":"fleet"', '"targetPort":"flete"'), /no container has the port flete/)
  assert.match(rules('"drop":["ALL"]', '"drop":[]'), /keeps capabilities/)
  assert.match(rules('"mountPath":"/app/policy"', '"subPath":"policy.toml","mountPath":"/app/policy"'), /never renewed/)
  assert.match(rules('"server auth"', '"client auth"'), /has no identity/)
})
