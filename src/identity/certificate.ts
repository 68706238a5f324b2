import { type KeyObject, X509Certificate } from 'node:crypto'
import { isHttpUrl } from '../base/bounded-fetch.ts'
import { type AccessPoint, extensionOids, type KeyUsage, readExtensionValues } from './certificate-extensions.ts'
import { type CertificateFields, readFields } from './certificate-fields.ts'
import { flawOf, readAltNames } from './certificate-form.ts'
import { bytesOf, wholeOf } from './der.ts'
import { type DistinguishedName, emailOid, readAttributes, toDistinguishedName } from './distinguished-name.ts'
import { generalNameText, generalNameTypes } from './general-name.ts'
import type { ConstrainedNames, NameConstraints } from './name-constraints.ts'

/**
 * One certificate as plain values. `node:crypto` checks its form and reads its key, dates and signature; what Node does not
 * show is read from the bytes, which must be DER.
 */
export interface Certificate {
  readonly der: Uint8Array
  readonly x509: X509Certificate
  /** DER of the names, for exact comparison. */
  readonly subjectDer: string
  readonly issuerDer: string
  readonly subject: DistinguishedName
  readonly issuerText: string
  /** Uppercase hexadecimal. */
  readonly serial: string
  /** SHA-256, uppercase hexadecimal with colons. */
  readonly fingerprint: string
  /** Epoch milliseconds. */
  readonly notBefore: number
  readonly notAfter: number
  readonly names: SubjectNames
  /** All names that a CA above may be limited in. */
  readonly constrainedNames: ConstrainedNames
  readonly isCa: boolean
  /** How many intermediates may follow; `undefined` for no limit. */
  readonly pathLength: number | undefined
  /** `undefined` when the certificate has no such extension. */
  readonly keyUsages: ReadonlySet<KeyUsage> | undefined
  readonly extendedKeyUsages: readonly string[] | undefined
  /** URLs of its CA's OCSP responders; http and https only. */
  readonly ocspUrls: readonly string[]
  /** Extensions that limit what the certificate is good for in ways that we do not check: it is not to be relied on. */
  readonly unsupported: readonly string[]
  /** What a CA may vouch for, where it is limited. */
  readonly nameConstraints: NameConstraints | undefined
  /** Key identifiers, hexadecimal: of its own key, and of the key that signed it. */
  readonly subjectKeyId: string | undefined
  readonly authorityKeyId: string | undefined
  /** How it breaks RFC 5280; ignored for trust anchors. */
  readonly flaw: string | undefined
  /** Why the key is not to be used (broken too easily, or too costly to use), or the issuer's signature could be forged. */
  readonly unfitKey: string | undefined
  readonly weakSignature: string | undefined
}

export interface SubjectNames {
  readonly uris: readonly string[]
  readonly dns: readonly string[]
  readonly emails: readonly string[]
  readonly ips: readonly string[]
}

export const clientAuthOid = '1.3.6.1.5.5.7.3.2'
export const serverAuthOid = '1.3.6.1.5.5.7.3.1'
export const ocspSigningOid = '1.3.6.1.5.5.7.3.9'
const anyExtendedKeyUsageOid = '2.5.29.37.0'
export const ocspMethodOid = '1.3.6.1.5.5.7.48.1'
/** Policies limit nothing unless an extension requires one; such extensions are not in this list. */
const certificatePoliciesOid = '2.5.29.32'
/** The ones that may be marked critical. */
const processedOids: readonly string[] = [
  extensionOids.subjectAltName,
  extensionOids.basicConstraints,
  extensionOids.keyUsage,
  extensionOids.extendedKeyUsage,
  extensionOids.nameConstraints,
  certificatePoliciesOid,
]
/** Limits whether or not they are marked critical: policyConstraints and inhibitAnyPolicy. */
const limitingOids: readonly string[] = ['2.5.29.36', '2.5.29.54']

/** Connections keep the bytes of their peers, and are judged again and again: reading them once is enough. */
const known = new WeakMap<Uint8Array, Certificate>()
/** By their bytes: a peer that comes again sends the same ones, and CAs come with all of theirs. The oldest give way. */
const recent = new Map<string, Certificate>()
const recentMax = 1024
const recentBytesMax = 8 * 1024

/** Throws an Error when the bytes are no certificate. Bounded: a certificate is at most 64 KiB. */
export function parseCertificate(der: Uint8Array): Certificate {
  const certificate = known.get(der) ?? readRecent(der)
  known.set(der, certificate)
  return certificate
}

function readRecent(der: Uint8Array): Certificate {
  if (der.length > recentBytesMax) return readCertificate(der)
  const key = Buffer.from(der.buffer, der.byteOffset, der.length).toString('latin1')
  const certificate = recent.get(key) ?? readCertificate(der)
  recent.delete(key)
  recent.set(key, certificate)
  if (recent.size > recentMax) recent.delete(recent.keys().next().value as string)
  return certificate
}

function readCertificate(der: Uint8Array): Certificate {
  if (der.length > certificateBytesMax) throw new Error('larger than 64 KiB')
  wholeOf(der)
  const x509 = new X509Certificate(der)
  const [notBefore, notAfter] = [x509.validFromDate.getTime(), x509.validToDate.getTime()]
  // Comparing with NaN is always false: such a certificate would never expire.
  if (!Number.isFinite(notBefore) || !Number.isFinite(notAfter)) throw new Error('its dates cannot be read')
  const fields = readFields(der)
  const extensions = readExtensionValues(der, fields.extensions)
  const { altNames, isCa, pathLength, keyUsages, extendedKeyUsages, nameConstraints } = extensions
  const attributes = readAttributes(der, fields.subject)
  const subjectDer = hex(bytesOf(der, fields.subject))
  const { names, constrainedNames } = readAltNames(altNames ?? [])
  return {
    ...{ der, x509, subjectDer, notBefore, notAfter, names },
    ...{ isCa, pathLength, keyUsages, extendedKeyUsages, nameConstraints },
    issuerDer: hex(bytesOf(der, fields.issuer)),
    subject: toDistinguishedName(attributes),
    issuerText: toDistinguishedName(readAttributes(der, fields.issuer)).text,
    serial: x509.serialNumber,
    fingerprint: x509.fingerprint256,
    constrainedNames: {
      ...constrainedNames,
      directories: [subjectDer, ...constrainedNames.directories],
      // Where certificates of old have the address of mail.
      emails: [...constrainedNames.emails, ...attributes.filter(({ oid }) => oid === emailOid).map(({ text }) => text)],
    },
    subjectKeyId: extensions.subjectKeyId,
    authorityKeyId: extensions.authorityKeyId,
    flaw: flawOf({ ...extensions, names, fields, hasSubject: attributes.length > 0 }),
    ocspUrls: ocspUrlsOf(extensions.accessPoints),
    unsupported: [...fields.extensions]
      .filter(([oid, { isCritical }]) => (isCritical && !processedOids.includes(oid)) || limitingOids.includes(oid))
      .map(([oid]) => oid),
    unfitKey: unfitKey(x509.publicKey, fields),
    weakSignature: /md[245]|sha-?1\b|sha1with/i.test(x509.signatureAlgorithm ?? '')
      ? `signed with ${x509.signatureAlgorithm}`
      : undefined,
  }
}

const certificateBytesMax = 64 * 1024

/**
 * Below 112 bits of security, as OpenSSL's level 2 counts it, for the handshake does not look at a client's key; or so long
 * that a peer could keep us busy with it.
 */
function unfitKey(
  { asymmetricKeyType: type, asymmetricKeyDetails }: KeyObject,
  { hasNamedCurve }: CertificateFields,
): string | undefined {
  const { modulusLength, namedCurve } = asymmetricKeyDetails ?? {}
  if (!['rsa', 'rsa-pss', 'ec', 'ed25519', 'ed448'].includes(type ?? '')) return `its key is of the kind ${type}`
  // A curve that is spelled out can be made such that a key fits which is not the CA's.
  if (type === 'ec' && !hasNamedCurve) return 'its key is on a curve without a name'
  if (modulusLength !== undefined && (modulusLength < 2048 || modulusLength > 8192))
    return `its ${type} key has ${modulusLength} bits`
  const curveBits = Number(/\d{3}/.exec(namedCurve ?? '')?.[0] ?? 256)
  return curveBits < 224 ? `its key is on the curve ${namedCurve}` : undefined
}

export function allowsClientAuth({ extendedKeyUsages }: Certificate): boolean {
  return (
    !extendedKeyUsages ||
    extendedKeyUsages.includes(clientAuthOid) ||
    extendedKeyUsages.includes(anyExtendedKeyUsageOid)
  )
}

function ocspUrlsOf(points: readonly AccessPoint[]): string[] {
  return points
    .filter(({ method, location }) => method === ocspMethodOid && location.type === generalNameTypes.uri)
    .map(({ location }) => generalNameText(location))
    .filter((url) => isHttpUrl(url) && URL.canParse(url))
    .slice(0, 2)
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}
