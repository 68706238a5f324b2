import type { Secrets } from '../deploy/issuers.ts'
import type { FleetIssuers } from '../deploy/pod-volumes.ts'
import { eventually } from '../harness/program.ts'
import type { ApiServer } from './api-server.ts'

/** Certificates that cert-manager's controllers issue in a real API server. */
export class ClusterIssuers implements FleetIssuers {
  readonly #server: ApiServer
  readonly secrets: Secrets = new Map()
  /** Only OpenShift has a service CA. */
  readonly serviceCaPem = ''

  constructor(server: ApiServer) {
    this.#server = server
  }

  async issueAll(): Promise<void> {
    this.#server.ensure(['-n', 'trellis', 'wait', '--for=condition=Ready', 'certificate', '--all', '--timeout=10m'])
    this.#readSecrets()
  }

  /** Renews a certificate as `cmctl renew` does, and returns when its Secret has the new one. */
  async renew(secretName: string): Promise<void> {
    const certificate = secretName.replace(/-tls$/, '')
    const before = this.secrets.get(secretName)?.['tls.crt']
    const condition = {
      ...{ type: 'Issuing', status: 'True', reason: 'ManuallyTriggered', message: 'Renewed by a test' },
      lastTransitionTime: new Date().toISOString(),
    }
    this.#server.ensure([
      ...['-n', 'trellis', 'patch', 'certificate', certificate, '--subresource=status', '--type=json'],
      `--patch=${JSON.stringify([{ op: 'add', path: '/status/conditions/-', value: condition }])}`,
    ])
    const isRenewed = (): boolean => {
      this.#readSecrets()
      return this.secrets.get(secretName)?.['tls.crt'] !== before
    }
    await eventually(`cert-manager renews ${certificate}`, isRenewed, 600_000)
  }

  issueSvid(): Promise<void> {
    throw new Error('SVIDs come from a CSI driver, which is not among the controllers')
  }

  #readSecrets(): void {
    const { items } = JSON.parse(this.#server.ensure(['-n', 'trellis', 'get', 'secrets', '-o=json'])) as {
      items: { metadata: { name: string }; data?: Record<string, string> }[]
    }
    for (const { metadata, data = {} } of items)
      this.secrets.set(
        metadata.name,
        Object.fromEntries(Object.entries(data).map(([name, text]) => [name, Buffer.from(text, 'base64').toString()])),
      )
  }
}
