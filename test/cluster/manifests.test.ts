import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { after, before, test } from 'node:test'
import { chartCases, sites } from '../deploy/chart-cases.ts'
import { helmTemplate, kustomize, podsOf, type Resource } from '../deploy/rendered.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { type ApiServer, type Said, startApiServer } from './api-server.ts'

const deploy = join(import.meta.dirname, '..', '..', 'deploy')
const overlays = ['cert-manager', 'openshift-service-ca', 'spiffe-csi'] as const
const severalSuperlinks = chartCases['three SuperLinks on a database server and a bucket']?.values as object
const directory = temporaryDirectory()
let server: ApiServer

before(async () => {
  server = await startApiServer(directory.path)
  await server.createKinds()
  for (const name of ['trellis', 'release'])
    server.ensure(['apply', '--server-side', '-f', '-'], {
      ...{ apiVersion: 'v1', kind: 'Namespace' },
      metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    })
})
after(async () => {
  await server?.[Symbol.asyncDispose]()
  directory[Symbol.dispose]()
})

/** A dry run of the server passes admission, defaults, validation and conversion, and stores nothing. */
const dryRun = ['apply', '--server-side', '--dry-run=server', '--validate=strict'] as const

function assertAccepted({ status, stdout, stderr }: Said, count: number): void {
  assert.equal(status, 0, stderr)
  assert.doesNotMatch(stderr, /warning/i)
  assert.equal(stdout.trim().split('\n').length, count)
}

for (const overlay of overlays)
  test(`the API server accepts the overlay ${overlay} without a warning`, () => {
    const folder = join(deploy, 'kubernetes', 'overlays', overlay)
    assertAccepted(server.kubectl([...dryRun, '-k', folder]), kustomize(`overlays/${overlay}`).length)
  })

for (const component of ['client-crl', 'openshift-routes', 'postgresql', 'trust-manager'])
  test(`the API server accepts the component ${component} on an overlay`, () => {
    const below = (path: string): string => relative(directory.path, join(deploy, 'kubernetes', path))
    const kustomization = {
      ...{ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', namespace: 'trellis' },
      resources: [below('overlays/cert-manager')],
      components: [below(`components/${component}`)],
    }
    writeFileSync(directory.file('kustomization.yaml'), JSON.stringify(kustomization))
    const resources = kustomize(directory.path)
    assertAccepted(server.kubectl([...dryRun, '-k', directory.path]), resources.length)
  })

for (const [name, { values }] of Object.entries(chartCases))
  test(`the API server accepts the chart: ${name}`, () => {
    const resources = helmTemplate(values)
    assertAccepted(
      server.kubectl([...dryRun, '--namespace=trellis', '-f', '-'], {
        apiVersion: 'v1',
        kind: 'List',
        items: resources,
      }),
      resources.length,
    )
  })

test('Pod Security "restricted" admits the pods of every StatefulSet, with the labels that its controller adds', () => {
  const charts = [{ sites }, severalSuperlinks].map((values) => helmTemplate(values))
  const pods = [...overlays.map((name) => kustomize(`overlays/${name}`)), ...charts].flatMap(podsAsCreated)
  assert.equal(pods.length, 13)
  for (const pod of pods) {
    const { status, stderr } = createPod(pod)
    assert.equal(status, 0, stderr)
    assert.doesNotMatch(stderr, /warning/i)
  }
})

test('the check of Pod Security bites: a plain pod, and one of a StatefulSet with a longer name than the chart permits, are refused', () => {
  const plain = { metadata: { name: 'plain' }, spec: { containers: [{ name: 'one', image: 'one' }] } }
  assert.match(createPod(plain).stderr, /violates PodSecurity "restricted/)
  const [pod] = podsAsCreated(kustomize('overlays/cert-manager'))
  const named = (length: number): object => ({
    ...pod,
    metadata: { ...pod?.metadata, labels: { 'controller-revision-hash': `${'x'.repeat(length)}-0123456789` } },
  })
  assert.equal(createPod(named(52)).status, 0)
  assert.match(createPod(named(53)).stderr, /must be no more than 63/)
})

test('an overlay that is applied again changes no object', () => {
  const folder = join(deploy, 'kubernetes', 'overlays', 'cert-manager')
  const versions = (): string =>
    server.ensure([
      ...['-n', 'trellis', 'get', 'statefulsets,services,configmaps,networkpolicies,poddisruptionbudgets,certificates'],
      '-o=jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\\n"}{end}',
    ])
  server.ensure(['apply', '-k', folder])
  const first = versions()
  server.ensure(['apply', '-k', folder])
  assert.match(first, /StatefulSet trellis-superlink \d+/)
  assert.equal(versions(), first)
})

test('the chart is installed twice in a namespace, and upgraded to what the guide describes', () => {
  const helm = (verb: string, release: string, values: object): Said =>
    server.helm([verb, release, join(deploy, 'helm', 'trellis'), '--namespace=release', '--values=-'], values)
  const succeeds = (said: Said): void => assert.equal(said.status, 0, said.stderr)
  const first = { sites: [{ name: 'site-a', data: { claimName: 'data', mountPath: '/data' } }, { name: 'site-b' }] }
  succeeds(helm('install', 'fleet', { ...first, monitoring: { enabled: true } }))
  succeeds(helm('install', 'other', first))
  for (const changed of [
    { trust: { trustManager: true } },
    { revocation: { crlConfigMap: 'crl', ocsp: 'lax' } },
    { superlink: { service: { type: 'LoadBalancer' } } },
    {
      certificates: {
        client: 'csi-driver-spiffe',
        clientIssuer: { name: 'spiffe', kind: 'ClusterIssuer', group: 'cert-manager.io' },
      },
    },
  ])
    succeeds(helm('upgrade', 'fleet', { ...first, ...changed }))
  // The guide has the way. Here are no pods to keep, and no controller that would let them go.
  const larger = { ...first, superlink: { storage: { size: '40Gi' } } }
  assert.match(helm('upgrade', 'other', larger).stderr, /updates to statefulset spec for fields other than/)
  server.ensure(['-n', 'release', 'delete', 'statefulset', 'other-superlink', '--cascade=background'])
  succeeds(helm('upgrade', 'other', larger))
  const several = { ...first, ...severalSuperlinks }
  assert.match(helm('upgrade', 'fleet', several).stderr, /updates to statefulset spec for fields other than/)
  server.ensure(['-n', 'release', 'delete', 'statefulset', 'fleet-superlink', '--cascade=background'])
  succeeds(helm('upgrade', 'fleet', several))
})

interface CreatedPod {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> }
  readonly spec: object
}

/** The first pod of each StatefulSet, as its controller would create it. */
function podsAsCreated(resources: readonly Resource[]): CreatedPod[] {
  return podsOf(resources).map(({ name, labels, claims, spec }) => ({
    metadata: {
      name: `${name}-0`,
      labels: { ...labels, 'controller-revision-hash': `${name}-0123456789`, 'apps.kubernetes.io/pod-index': '0' },
    },
    spec: {
      ...spec,
      volumes: [
        ...spec.volumes,
        ...claims.map((claim) => ({ name: claim, persistentVolumeClaim: { claimName: `${claim}-${name}-0` } })),
      ],
    },
  }))
}

function createPod(pod: object): Said {
  return server.kubectl(['-n', 'trellis', 'create', '--dry-run=server', '--validate=strict', '-f', '-'], {
    ...{ apiVersion: 'v1', kind: 'Pod' },
    ...pod,
  })
}
