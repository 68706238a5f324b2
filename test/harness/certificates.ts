import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CertificateRequest, type Issued, issue } from '../../src/identity/pki.ts'
import { issueCrl } from '../../src/identity/pki-crl.ts'

/** A CA for tests, and the files of what it issues. */
export class TestCa {
  readonly directory: string
  readonly issued: Issued
  readonly certfile: string

  private constructor(directory: string, name: string, issued: Issued) {
    this.directory = directory
    this.issued = issued
    this.certfile = join(directory, `${name}.crt`)
    writeFileSync(this.certfile, issued.certificatePem)
  }

  static async create(directory: string, name = 'ca'): Promise<TestCa> {
    return new TestCa(directory, name, await issue({ commonName: `${name} of the test`, ca: true, ...validFor(1) }))
  }

  /** Writes NAME.pem and NAME.key; a client certificate unless the request says otherwise. */
  async issue(
    name: string,
    request: Partial<CertificateRequest> = {},
  ): Promise<{ certfile: string; keyfile: string; issued: Issued }> {
    const issued = await issue({ commonName: name, usages: ['client'], ...validFor(1), ...request }, this.issued)
    const certfile = join(this.directory, `${name}.pem`)
    const keyfile = join(this.directory, `${name}.key`)
    writeFileSync(certfile, issued.certificatePem)
    writeFileSync(keyfile, issued.keyPem, { mode: 0o600 })
    return { certfile, keyfile, issued }
  }

  /** A revocation list of this CA, PEM. */
  async crl(revoked: readonly Issued[], number: number, validForMs = 3600_000): Promise<string> {
    const now = Date.now()
    const serials = revoked.map(({ certificatePem }) => new X509Certificate(certificatePem).serialNumber)
    return issueCrl(
      {
        revoked: serials.map((serial) => ({ serial, at: new Date(now) })),
        number: BigInt(number),
        thisUpdate: new Date(now - 60_000),
        nextUpdate: new Date(now + validForMs),
      },
      this.issued,
    )
  }

  /** A certificate for a server on this machine. */
  server(name = 'server'): ReturnType<TestCa['issue']> {
    return this.issue(name, { usages: ['server'], dns: ['localhost'], ips: ['127.0.0.1'] })
  }
}

export function validFor(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now()
  return { notBefore: new Date(now - 3600_000), notAfter: new Date(now + days * 86_400_000) }
}
