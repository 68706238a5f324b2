import { type KeyObject, X509Certificate } from 'node:crypto'
import { type BaseBlock, type BitString, ObjectIdentifier, type OctetString } from 'asn1js'
import * as pkijs from 'pkijs'
import { isHttpUrl } from '../base/bounded-fetch.ts'
import { flawOf, readAltNames } from './certificate-form.ts'
import { parsedCertificate, parsedValue } from './certificate-parts.ts'
import { type ConstrainedNames, type NameConstraints, readNameConstraints } from './name-constraints.ts'
import { wholeOf } from './revocation/der.ts'

/**
 * One certificate as plain values. With `certificate-form.ts` and `certificate-parts.ts` the only file that knows how certificates
 * are read: `node:crypto` for signatures and keys, pkijs for the extensions that Node does not show.
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

export interface DistinguishedName {
  readonly commonNames: readonly string[]
  readonly organizations: readonly string[]
  readonly units: readonly string[]
  /** As RFC 4514 writes it, most specific first. */
  readonly text: string
}

export interface SubjectNames {
  readonly uris: readonly string[]
  readonly dns: readonly string[]
  readonly emails: readonly string[]
  readonly ips: readonly string[]
}

const keyUsageBits = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const
export type KeyUsage = (typeof keyUsageBits)[number]

export const clientAuthOid = '1.3.6.1.5.5.7.3.2'
export const serverAuthOid = '1.3.6.1.5.5.7.3.1'
export const ocspSigningOid = '1.3.6.1.5.5.7.3.9'
const anyExtendedKeyUsageOid = '2.5.29.37.0'
const oids = {
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  nameConstraints: '2.5.29.30',
} as const
const keyIdOids = { subject: '2.5.29.14', authority: '2.5.29.35' } as const
export const authorityInfoOid = '1.3.6.1.5.5.7.1.1'
export const ocspMethodOid = '1.3.6.1.5.5.7.48.1'
/** Policies limit nothing unless an extension requires one; such extensions are not in this list. */
const certificatePoliciesOid = '2.5.29.32'
const processedOids: readonly string[] = [...Object.values(oids), certificatePoliciesOid]
/** Limits whether or not they are marked critical: policyConstraints and inhibitAnyPolicy. */
const limitingOids: readonly string[] = ['2.5.29.36', '2.5.29.54']

const emailOid = '1.2.840.113549.1.9.1'

const nameLabels: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.5': 'serialNumber',
  '0.9.2342.19200300.100.1.25': 'DC',
  [emailOid]: 'emailAddress',
}

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
  const parsed = parsedCertificate(der)
  const extension = (oid: string): pkijs.Extension | undefined => parsed.extensions?.find((one) => one.extnID === oid)
  const seen = new Set<string>()
  for (const { extnID } of parsed.extensions ?? []) {
    if (seen.has(extnID)) throw new Error(`extension ${extnID} twice`)
    seen.add(extnID)
  }
  const constraints = parsedValue<pkijs.BasicConstraints>(extension(oids.basicConstraints))
  const usages = parsedValue<BitString>(extension(oids.keyUsage))
  const extended = parsedValue<pkijs.ExtKeyUsage>(extension(oids.extendedKeyUsage))
  const constraintsOnNames = parsedValue<pkijs.NameConstraints>(extension(oids.nameConstraints))
  const nameConstraints = constraintsOnNames && readNameConstraints(constraintsOnNames)
  const altNames = extension(oids.subjectAltName)
  const altNameList = parsedValue<pkijs.AltName>(altNames)?.altNames ?? []
  const subjectDer = hex(parsed.subject.valueBeforeDecode)
  const fields = {
    subject: readName(parsed.subject),
    ...readAltNames(altNameList),
    isCa: constraints?.cA === true,
    pathLength: typeof constraints?.pathLenConstraint === 'number' ? constraints.pathLenConstraint : undefined,
    keyUsages: usages && readKeyUsages(usages),
    extendedKeyUsages: extended?.keyPurposes,
    nameConstraints,
  }
  return {
    der,
    x509,
    subjectDer,
    issuerDer: hex(parsed.issuer.valueBeforeDecode),
    issuerText: readName(parsed.issuer).text,
    serial: x509.serialNumber,
    fingerprint: x509.fingerprint256,
    notBefore,
    notAfter,
    ...fields,
    constrainedNames: {
      ...fields.constrainedNames,
      directories: [subjectDer, ...fields.constrainedNames.directories],
      // Where certificates of old have the address of mail.
      emails: [...fields.constrainedNames.emails, ...readAttributes(parsed.subject, emailOid)],
    },
    subjectKeyId: keyId(extension(keyIdOids.subject)),
    authorityKeyId: keyId(extension(keyIdOids.authority)),
    flaw: flawOf({
      parsed,
      ...fields,
      altNames: altNames && { isCritical: altNames.critical, count: altNameList.length },
    }),
    ocspUrls: readOcspUrls(extension(authorityInfoOid)),
    unsupported: (parsed.extensions ?? [])
      .filter((one) => (one.critical && !processedOids.includes(one.extnID)) || limitingOids.includes(one.extnID))
      .map((one) => one.extnID),
    unfitKey: unfitKey(x509.publicKey, parsed.subjectPublicKeyInfo),
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
  { algorithm }: pkijs.PublicKeyInfo,
): string | undefined {
  const { modulusLength, namedCurve } = asymmetricKeyDetails ?? {}
  if (!['rsa', 'rsa-pss', 'ec', 'ed25519', 'ed448'].includes(type ?? '')) return `its key is of the kind ${type}`
  // A curve that is spelled out can be made such that a key fits which is not the CA's.
  if (type === 'ec' && !(algorithm.algorithmParams instanceof ObjectIdentifier))
    return 'its key is on a curve without a name'
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

function readKeyUsages(bits: BitString): ReadonlySet<KeyUsage> {
  const bytes = bits.valueBlock.valueHexView
  return new Set(keyUsageBits.filter((_, index) => ((bytes[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0))
}

function readOcspUrls(extension: pkijs.Extension | undefined): string[] {
  return (parsedValue<pkijs.InfoAccess>(extension)?.accessDescriptions ?? [])
    .filter(({ accessMethod, accessLocation }) => accessMethod === ocspMethodOid && accessLocation.type === 6)
    .map(({ accessLocation }) => String(accessLocation.value))
    .filter((url) => isHttpUrl(url) && URL.canParse(url))
    .slice(0, 2)
}

function keyId(extension: pkijs.Extension | undefined): string | undefined {
  const value = parsedValue<OctetString | pkijs.AuthorityKeyIdentifier>(extension)
  const id = value instanceof pkijs.AuthorityKeyIdentifier ? value.keyIdentifier : value
  return id && Buffer.from(id.valueBlock.valueHexView).toString('hex')
}

function readAttributes(name: pkijs.RelativeDistinguishedNames, oid: string): string[] {
  return name.typesAndValues.filter(({ type }) => String(type) === oid).map(({ value }) => textOf(value))
}

function readName(name: pkijs.RelativeDistinguishedNames): DistinguishedName {
  const parts = name.typesAndValues.map(({ type, value }) => ({ type: String(type), text: textOf(value) }))
  const ofType = (oid: string): string[] => parts.filter((part) => part.type === oid).map((part) => part.text)
  const escaped = (text: string): string => text.replace(/[,+"\\<>;]/g, '\\$&')
  return {
    commonNames: ofType('2.5.4.3'),
    organizations: ofType('2.5.4.10'),
    units: ofType('2.5.4.11'),
    text: parts
      .toReversed()
      .map((part) => `${nameLabels[part.type] ?? part.type}=${escaped(part.text)}`)
      .join(','),
  }
}

const utf8StringTag = 12

/** The reader takes broken UTF-8 for Latin-1: then two names would look the same. */
function textOf(value: BaseBlock): string {
  const { valueBlock, idBlock } = value as BaseBlock & { valueBlock: { value: unknown; valueHexView: Uint8Array } }
  if (idBlock.tagNumber !== utf8StringTag) return String(valueBlock.value)
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(valueBlock.valueHexView)
}

function hex(bytes: ArrayBuffer): string {
  return Buffer.from(bytes).toString('hex')
}
