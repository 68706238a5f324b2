/** Values of the chart that an operator may give. */

export interface ChartCase {
  readonly values: object
  /** Objects that exist before, or that other controllers create. */
  readonly given: readonly string[]
  readonly pods: number
}

export const sites = [{ name: 'site-a' }, { name: 'site-b' }]
const bundles = ['ConfigMap trellis-superlink-ca', 'ConfigMap trellis-client-ca']
const issuer = { name: 'corporate', kind: 'ClusterIssuer', group: 'cert-manager.io' }

export const chartCases: Readonly<Record<string, ChartCase>> = {
  'a whole fleet with a CA of its own': { values: { sites }, given: bundles, pods: 3 },
  'a fleet with monitoring whose bundles trust-manager makes': {
    values: { sites, trust: { trustManager: true }, monitoring: { enabled: true } },
    given: [],
    pods: 3,
  },
  'OpenShift with its service CA': {
    values: { sites, openshift: { enabled: true }, certificates: { server: 'service-ca' } },
    given: bundles.slice(1),
    pods: 3,
  },
  'OpenShift with routes': {
    values: {
      openshift: { enabled: true, fleetHost: 'fleet.apps.example.com', controlHost: 'control.apps.example.com' },
      superlink: { service: { annotations: { owner: 'me' } }, storage: { className: 'fast' } },
    },
    given: bundles,
    pods: 1,
  },
  'SVIDs of a CSI driver': {
    values: { sites, certificates: { client: 'csi-driver-spiffe', clientIssuer: issuer } },
    given: [...bundles, 'Issuer corporate'],
    pods: 3,
  },
  'sites alone, with data and options': {
    values: {
      superlink: { enabled: false },
      superlinkAddress: 'fleet.example.com:443',
      networkPolicy: { superlinkPorts: [443], monitoringNamespace: 'observability' },
      certificates: { clientIssuer: issuer },
      sites: [
        {
          name: 'ward-7',
          identity: 'Hospital A, ward 7',
          nodeConfig: 'partition-id=0 num-partitions=2 name="a b"',
          data: { claimName: 'scans', mountPath: '/data' },
          appImage: 'registry.example.com/trellis/superexec:0.1.0-python',
          extraArgs: ['--max-retries=100'],
        },
      ],
    },
    given: [...bundles, 'Issuer corporate'],
    pods: 1,
  },
  'revocation lists in a ConfigMap': {
    values: { revocation: { crlConfigMap: 'trellis-client-crl' } },
    given: [...bundles, 'ConfigMap trellis-client-crl'],
    pods: 1,
  },
  'revocation lists and responders elsewhere': {
    values: {
      revocation: {
        crlUrls: ['http://ca.example/root.crl', 'http://ca.example/site.crl'],
        ocsp: 'strict',
        ocspUrl: 'http://o',
      },
      networkPolicy: { revocationPorts: [8080] },
    },
    given: bundles,
    pods: 1,
  },
  'three SuperLinks on a database server and a bucket': {
    values: {
      superlink: {
        replicas: 3,
        database: { secret: 'state' },
        bucket: { url: 's3://models/fleet?endpoint=https://s3.example:9000', secret: 'bucket', privateCa: true },
      },
      networkPolicy: { bucketPorts: [9000] },
    },
    given: [...bundles, 'Secret state', 'Secret bucket'],
    pods: 1,
  },
  'one SuperLink on a database server': {
    values: { superlink: { database: { secret: 'state' } } },
    given: [...bundles, 'Secret state'],
    pods: 1,
  },
  'certificates that are there': {
    values: { sites: sites.slice(1), certificates: { server: 'given', client: 'given' } },
    given: [...bundles, 'Secret trellis-superlink-tls', 'Secret trellis-supernode-site-b-tls'],
    pods: 2,
  },
}
