import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import { toPem } from './pem.ts'
import { engine, type Issued, importSigningKey, keyIdentifierOf, parsePem } from './pki.ts'

/** A certificate that is not good any more. */
export interface RevokedEntry {
  /** Hexadecimal. */
  readonly serial: string
  readonly at: Date
  /** Code of RFC 5280 section 5.3.1; 0 is left out, as it must be. */
  readonly reason?: number
}

export interface CrlRequest {
  readonly revoked: readonly RevokedEntry[]
  /** Grows from list to list; some CAs write none. */
  readonly number: bigint | undefined
  readonly thisUpdate: Date
  readonly nextUpdate?: Date
  /** For tests of reading: more extensions, with their DER, by OID. */
  readonly extensions?: readonly { readonly oid: string; readonly critical: boolean; readonly der: ArrayBuffer }[]
}

/** Signs a revocation list of a CA; PEM. */
export async function issueCrl(request: CrlRequest, issuer: Issued): Promise<string> {
  const crl = new pkijs.CertificateRevocationList()
  const ca = parsePem(issuer.certificatePem)
  crl.version = 1
  crl.issuer = ca.subject
  crl.thisUpdate = timeOf(request.thisUpdate)
  if (request.nextUpdate) crl.nextUpdate = timeOf(request.nextUpdate)
  if (request.revoked.length > 0) crl.revokedCertificates = request.revoked.map(toEntry)
  crl.crlExtensions = new pkijs.Extensions({
    extensions: [
      keyIdentifierOf(ca),
      ...(request.number === undefined
        ? []
        : [extension('2.5.29.20', false, integer(request.number.toString(16)).toBER())]),
      ...(request.extensions ?? []).map(({ oid, critical, der }) => extension(oid, critical, der)),
    ],
  })
  await crl.sign((await importSigningKey(issuer.keyPem)) as unknown as CryptoKey, 'SHA-256', engine)
  return toPem('X509 CRL', new Uint8Array(crl.toSchema(true).toBER()))
}

function toEntry({ serial, at, reason = 0 }: RevokedEntry): pkijs.RevokedCertificate {
  const code = new asn1js.Enumerated({ value: reason }).toBER()
  return new pkijs.RevokedCertificate({
    userCertificate: integer(serial),
    revocationDate: timeOf(at),
    ...(reason === 0
      ? {}
      : { crlEntryExtensions: new pkijs.Extensions({ extensions: [extension('2.5.29.21', false, code)] }) }),
  })
}

function extension(extnID: string, critical: boolean, extnValue: ArrayBuffer): pkijs.Extension {
  return new pkijs.Extension({ extnID, critical, extnValue })
}

/** A positive integer of any length. */
function integer(hex: string): asn1js.Integer {
  const even = hex.length % 2 === 0 ? hex : `0${hex}`
  const padded = Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even
  return new asn1js.Integer({ valueHex: Uint8Array.from(Buffer.from(padded, 'hex')).buffer })
}

function timeOf(value: Date): pkijs.Time {
  const isLate = value.getUTCFullYear() >= 2050
  return new pkijs.Time({ type: isLate ? 1 : 0, value })
}
