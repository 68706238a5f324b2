import { type CertificateRequest, type Issued, issue } from '../../src/identity/pki.ts'
import { validFor } from '../harness/certificates.ts'
import type { Resource } from './rendered.ts'

/** Data of Secrets by their names. */
export type Secrets = Map<string, Readonly<Record<string, string>>>

interface CertificateSpec {
  readonly secretName: string
  readonly issuerRef: { readonly name: string }
  readonly isCA?: boolean
  readonly commonName?: string
  readonly subject?: { readonly organizations?: readonly string[] }
  readonly dnsNames?: readonly string[]
  readonly usages: readonly string[]
}

/**
 * Does the work of cert-manager, which issues what Certificates ask for, signed by the CAs that their Issuers name, and
 * that of OpenShift's service CA. Server certificates hold the loopback address too, where the Service would be.
 */
export class Issuers {
  readonly #resources: readonly Resource[]
  readonly #issued = new Map<string, Issued>()
  readonly secrets: Secrets = new Map()
  /** What OpenShift writes into ConfigMaps that ask for it. */
  serviceCaPem = ''

  constructor(resources: readonly Resource[]) {
    this.#resources = resources
  }

  async issueAll(): Promise<void> {
    const certificates = this.#resources
      .filter(({ kind }) => kind === 'Certificate')
      .map(({ spec }) => spec as CertificateSpec)
    for (const spec of certificates.filter(({ isCA }) => isCA)) await this.#issue(spec)
    for (const spec of certificates.filter(({ isCA }) => !isCA)) await this.#issue(spec)
    for (const { kind, metadata } of this.#resources) {
      const secret = metadata.annotations?.['service.beta.openshift.io/serving-cert-secret-name']
      if (kind === 'Service' && secret) await this.#serve(secret, `${metadata.name}.${metadata.namespace}.svc`)
    }
  }

  /** Issues the certificate of a Secret anew, with a new key. */
  async renew(secretName: string): Promise<void> {
    const found = this.#resources.find(
      ({ kind, spec }) => kind === 'Certificate' && (spec as CertificateSpec).secretName === secretName,
    )
    if (!found) throw new Error(`No Certificate writes the Secret ${secretName}`)
    await this.#issue(found.spec as CertificateSpec)
  }

  /** csi-driver-spiffe: a certificate without a subject whose only name is that of a service account. */
  async issueSvid(pod: string, serviceAccount: string): Promise<void> {
    const ca = this.#issued.get('trellis-client-ca') as Issued
    const uris = [`spiffe://fl.example/ns/trellis/sa/${serviceAccount}`]
    const issued = await issue({ ...validFor(1), uris, usages: ['client', 'server'] }, ca)
    this.secrets.set(`SVID of ${pod}`, { 'tls.crt': issued.certificatePem, 'tls.key': issued.keyPem })
  }

  /** OpenShift's service CA: a server certificate for the name of a Service. */
  async #serve(secretName: string, name: string): Promise<void> {
    const ca = await issue({ ...validFor(1), commonName: 'openshift-service-serving-signer', ca: true })
    const pair = await issue(
      { ...validFor(1), commonName: name, usages: ['server'], dns: [name], ips: ['127.0.0.1'] },
      ca,
    )
    this.serviceCaPem = ca.certificatePem
    this.secrets.set(secretName, { 'tls.crt': pair.certificatePem, 'tls.key': pair.keyPem })
  }

  async #issue(spec: CertificateSpec): Promise<void> {
    const issuer = this.#resources.find(
      ({ kind, metadata }) => kind === 'Issuer' && metadata.name === spec.issuerRef.name,
    )
    const { ca } = (issuer?.spec ?? {}) as { ca?: { secretName: string } }
    const signer = ca && this.#issued.get(ca.secretName)
    const issued = await issue(requestOf(spec), signer)
    this.#issued.set(spec.secretName, issued)
    this.secrets.set(spec.secretName, {
      'tls.crt': issued.certificatePem,
      'tls.key': issued.keyPem,
      'ca.crt': (signer ?? issued).certificatePem,
    })
  }
}

function requestOf({ isCA, commonName, subject, dnsNames, usages }: CertificateSpec): CertificateRequest {
  const [organization] = subject?.organizations ?? []
  const server = usages.includes('server auth')
  return {
    ...validFor(1),
    ...(commonName === undefined ? {} : { commonName }),
    ...(organization === undefined ? {} : { organization }),
    ...(isCA ? { ca: true } : { usages: [server ? 'server' : 'client'] }),
    ...(server ? { dns: dnsNames ?? [], ips: ['127.0.0.1'] } : {}),
  }
}
