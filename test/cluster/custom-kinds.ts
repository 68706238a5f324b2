/**
 * Definitions of the kinds that other operators bring, without their schemas: test/deploy checks resources of these kinds
 * against those. Those of cert-manager come with its source.
 */
const kinds = [
  { group: 'monitoring.coreos.com', version: 'v1', kind: 'PodMonitor', plural: 'podmonitors', scope: 'Namespaced' },
  {
    group: 'monitoring.coreos.com',
    version: 'v1',
    kind: 'PrometheusRule',
    plural: 'prometheusrules',
    scope: 'Namespaced',
  },
  { group: 'route.openshift.io', version: 'v1', kind: 'Route', plural: 'routes', scope: 'Namespaced' },
  { group: 'trust.cert-manager.io', version: 'v1alpha1', kind: 'Bundle', plural: 'bundles', scope: 'Cluster' },
] as const

export const customKinds = {
  apiVersion: 'v1',
  kind: 'List',
  items: kinds.map(({ group, version, kind, plural, scope }) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
    },
    spec: {
      group,
      scope,
      names: { kind, plural, singular: kind.toLowerCase() },
      versions: [
        {
          ...{ name: version, served: true, storage: true, subresources: { status: {} } },
          schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
        },
      ],
    },
  })),
}
