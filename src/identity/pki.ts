import { createHash, createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import { errorText, UsageError } from '../base/errors.ts'
import { authorityInfoOid, clientAuthOid, ocspMethodOid, ocspSigningOid, serverAuthOid } from './certificate.ts'
import { toPem } from './pem.ts'

/**
 * A small local CA for trying things out, for tests and for the demo. Not for production: its key lies in a file, and it
 * keeps no record of what it issued.
 */
export interface Issued {
  readonly certificatePem: string
  /** PKCS #8 */
  readonly keyPem: string
}

export interface CertificateRequest {
  readonly commonName?: string
  readonly organization?: string
  /** Organisational units, e.g. tags such as `region=eu`. */
  readonly units?: readonly string[]
  readonly uris?: readonly string[]
  readonly dns?: readonly string[]
  readonly ips?: readonly string[]
  readonly emails?: readonly string[]
  readonly usages?: readonly Usage[]
  /** URL of the CA's OCSP responder. */
  readonly ocspUrl?: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** A CA may issue others; `pathLength` bounds how deep. */
  readonly ca?: boolean
  readonly pathLength?: number
  /** For tests of judgement: leave parts out, or say other things. */
  readonly keyUsage?: number | 'none'
  readonly criticalExtension?: string
  readonly edit?: (certificate: pkijs.Certificate) => void
  readonly digest?: 'SHA-1' | 'SHA-256'
}

/** What an end entity may use its key for. */
export type Usage = 'client' | 'server' | 'ocsp'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
/** Signs for pkijs. */
export const engine = new pkijs.CryptoEngine({
  name: 'node',
  crypto: webcrypto as unknown as Crypto,
}) as unknown as pkijs.ICryptoEngine

/** Issues a certificate with a fresh key; without an issuer it signs itself. */
export async function issue(request: CertificateRequest, issuer?: Issued): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = new pkijs.Certificate()
  certificate.version = 2
  certificate.serialNumber = newSerial()
  certificate.notBefore.value = request.notBefore
  certificate.notAfter.value = request.notAfter
  certificate.subject = nameOf(request)
  const parent = issuer && parsePem(issuer.certificatePem)
  certificate.issuer = parent ? parent.subject : certificate.subject
  await certificate.subjectPublicKeyInfo.importKey(keys.publicKey as unknown as CryptoKey, engine)
  certificate.extensions = [
    ...extensionsOf(request),
    // Python from 3.13 on refuses certificates without these.
    keyIdentifier('2.5.29.14', keyIdOf(certificate)),
    keyIdentifierOf(parent ?? certificate),
  ]
  const signingKey = issuer ? await importSigningKey(issuer.keyPem) : keys.privateKey
  request.edit?.(certificate)
  await certificate.sign(signingKey as unknown as CryptoKey, request.digest ?? 'SHA-256', engine)
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    certificatePem: toPem('CERTIFICATE', new Uint8Array(certificate.toSchema(true).toBER())),
    keyPem: toPem('PRIVATE KEY', new Uint8Array(pkcs8)),
  }
}

/** Issues the certificate of a self-signed CA again, with its key and its names: the certificates below it stay valid. */
export async function renewSelfSigned(
  { certificatePem, keyPem }: Issued,
  { notBefore, notAfter }: Pick<CertificateRequest, 'notBefore' | 'notAfter'>,
): Promise<Issued> {
  const certificate = parsePem(certificatePem)
  certificate.serialNumber = newSerial()
  certificate.notBefore.value = notBefore
  certificate.notAfter.value = notAfter
  await certificate.sign((await importSigningKey(keyPem)) as unknown as CryptoKey, 'SHA-256', engine)
  return { certificatePem: toPem('CERTIFICATE', new Uint8Array(certificate.toSchema(true).toBER())), keyPem }
}

const newSerial = (): asn1js.Integer => new asn1js.Integer({ valueHex: positive(randomBytes(16)) })

/** The key of a CA that another program made may be of another kind than ours. */
export async function importSigningKey(pem: string): Promise<webcrypto.CryptoKey> {
  try {
    const key = createPrivateKey(pem)
    const { asymmetricKeyType: type, asymmetricKeyDetails } = key
    const curve = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }[
      asymmetricKeyDetails?.namedCurve ?? ''
    ]
    const params =
      type === 'ec' && curve
        ? { name: 'ECDSA', namedCurve: curve }
        : type === 'rsa'
          ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
          : undefined
    if (!params) throw new Error(`keys of the kind ${type} cannot sign here`)
    const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
    return await webcrypto.subtle.importKey('pkcs8', pkcs8, params, false, ['sign'])
  } catch (cause) {
    throw new UsageError(`The key of the CA cannot be used: ${errorText(cause)}.`, { cause })
  }
}

/** RFC 5280 section 4.2.1.2: what the certificate says of itself, else SHA-1 of the key. */
function keyIdOf(certificate: pkijs.Certificate): ArrayBuffer {
  const keyId = certificate.extensions?.find(({ extnID }) => extnID === '2.5.29.14')?.parsedValue
  if (keyId instanceof asn1js.OctetString) return Uint8Array.from(keyId.valueBlock.valueHexView).buffer
  const key = Buffer.from(certificate.subjectPublicKeyInfo.subjectPublicKey.valueBlock.valueHexView)
  return Uint8Array.from(createHash('sha1').update(key).digest()).buffer
}

/** Says by which key of an issuer something is signed. */
export function keyIdentifierOf(issuer: pkijs.Certificate): pkijs.Extension {
  return keyIdentifier('2.5.29.35', keyIdOf(issuer))
}

function keyIdentifier(extnID: '2.5.29.14' | '2.5.29.35', id: ArrayBuffer): pkijs.Extension {
  const value =
    extnID === '2.5.29.14'
      ? new asn1js.OctetString({ valueHex: id })
      : new pkijs.AuthorityKeyIdentifier({ keyIdentifier: new asn1js.OctetString({ valueHex: id }) }).toSchema()
  return new pkijs.Extension({ extnID, critical: false, extnValue: value.toBER() })
}

/** A part of its own for each attribute. (pkijs puts all that it is given into one.) */
function nameOf(request: CertificateRequest): pkijs.RelativeDistinguishedNames {
  const parts = [
    ['2.5.4.10', request.organization],
    ...(request.units ?? []).map((unit) => ['2.5.4.11', unit]),
    ['2.5.4.3', request.commonName],
  ].flatMap(([type, value]) => {
    if (type === undefined || value === undefined) return []
    const attribute = [new asn1js.ObjectIdentifier({ value: type }), new asn1js.Utf8String({ value })]
    return [new asn1js.Set({ value: [new asn1js.Sequence({ value: attribute })] })]
  })
  const der = new asn1js.Sequence({ value: parts }).toBER()
  return new pkijs.RelativeDistinguishedNames({ schema: asn1js.fromBER(der).result })
}

/** By object identifier, as extended key usage names it. */
export const purposes: Readonly<Record<Usage, string>> = {
  client: clientAuthOid,
  server: serverAuthOid,
  ocsp: ocspSigningOid,
}

/** Bits of the key usage extension, most significant first. */
const usageBits = { leaf: 0x80, ca: 0x06 } as const

function extensionsOf(request: CertificateRequest): pkijs.Extension[] {
  const extension = (
    extnID: string,
    critical: boolean,
    value: { toSchema(): { toBER(): ArrayBuffer } },
  ): pkijs.Extension => new pkijs.Extension({ extnID, critical, extnValue: value.toSchema().toBER() })
  const extensions = [
    extension(
      '2.5.29.19',
      true,
      new pkijs.BasicConstraints({
        cA: request.ca === true,
        ...(request.pathLength === undefined ? {} : { pathLenConstraint: request.pathLength }),
      }),
    ),
  ]
  if (request.keyUsage !== 'none') {
    const usage = request.keyUsage ?? (request.ca ? usageBits.ca : usageBits.leaf)
    const bits = new Uint8Array([usage])
    // DER counts no trailing zeros of a list of named bits.
    const unusedBits = 31 - Math.clz32(usage & -usage)
    extensions.push(
      new pkijs.Extension({
        extnID: '2.5.29.15',
        critical: true,
        extnValue: new asn1js.BitString({ valueHex: bits.buffer, unusedBits }).toBER(),
      }),
    )
  }
  if (request.usages) {
    const keyPurposes = request.usages.map((usage) => purposes[usage])
    extensions.push(extension('2.5.29.37', false, new pkijs.ExtKeyUsage({ keyPurposes })))
  }
  const names = [
    ...(request.emails ?? []).map((value) => new pkijs.GeneralName({ type: 1, value })),
    ...(request.dns ?? []).map((value) => new pkijs.GeneralName({ type: 2, value })),
    ...(request.uris ?? []).map((value) => new pkijs.GeneralName({ type: 6, value })),
    ...(request.ips ?? []).map(
      (value) => new pkijs.GeneralName({ type: 7, value: new asn1js.OctetString({ valueHex: ipBytes(value) }) }),
    ),
  ]
  const isNameless = request.commonName === undefined && request.organization === undefined
  if (names.length > 0) extensions.push(extension('2.5.29.17', isNameless, new pkijs.GeneralNames({ names })))
  if (request.ocspUrl !== undefined) {
    const access = new pkijs.AccessDescription({
      accessMethod: ocspMethodOid,
      accessLocation: new pkijs.GeneralName({ type: 6, value: request.ocspUrl }),
    })
    extensions.push(extension(authorityInfoOid, false, new pkijs.InfoAccess({ accessDescriptions: [access] })))
  }
  if (request.criticalExtension) {
    extensions.push(
      new pkijs.Extension({ extnID: request.criticalExtension, critical: true, extnValue: new asn1js.Null().toBER() }),
    )
  }
  return extensions
}

function ipBytes(text: string): ArrayBuffer {
  if (!text.includes(':')) return Uint8Array.from(text.split('.').map(Number)).buffer
  const [head = '', tail = ''] = text.split('::', 2)
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const [left, right] = [groups(head), groups(tail)]
  const middle = new Array<number>(Math.max(0, 8 - left.length - right.length)).fill(0)
  return Uint8Array.from([...left, ...middle, ...right].flatMap((group) => [group >> 8, group & 0xff])).buffer
}

/** Of certificates that this machine made or was given by its operator. */
export function parsePem(pem: string): pkijs.Certificate {
  return pkijs.Certificate.fromBER(pemBytes(pem))
}

function pemBytes(pem: string): ArrayBuffer {
  const base64 = pem.replace(/-----[^-]+-----/g, '')
  return Uint8Array.from(Buffer.from(base64, 'base64')).buffer
}

/** Serial numbers are positive: the first bit says the sign. */
function positive(bytes: Buffer): ArrayBuffer {
  const copy = Uint8Array.from(bytes)
  copy[0] = ((copy[0] as number) & 0x7f) | 0x40
  return copy.buffer
}
