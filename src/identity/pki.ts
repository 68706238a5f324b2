import { randomBytes, webcrypto } from 'node:crypto'
import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import { clientAuthOid, serverAuthOid } from './certificate.ts'
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
  readonly uris?: readonly string[]
  readonly dns?: readonly string[]
  readonly ips?: readonly string[]
  readonly emails?: readonly string[]
  readonly usages?: readonly ('client' | 'server')[]
  readonly notBefore: Date
  readonly notAfter: Date
  /** A CA may issue others; `pathLength` bounds how deep. */
  readonly ca?: boolean
  readonly pathLength?: number
  /** For tests of judgement: leave parts out, or say other things. */
  readonly keyUsage?: number | 'none'
  readonly criticalExtension?: string
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const crypto = new pkijs.CryptoEngine({
  name: 'node',
  crypto: webcrypto as unknown as Crypto,
}) as unknown as pkijs.ICryptoEngine

/** Issues a certificate with a fresh key; without an issuer it signs itself. */
export async function issue(request: CertificateRequest, issuer?: Issued): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = new pkijs.Certificate()
  certificate.version = 2
  certificate.serialNumber = new asn1js.Integer({ valueHex: positive(randomBytes(16)) })
  certificate.notBefore.value = request.notBefore
  certificate.notAfter.value = request.notAfter
  setName(certificate.subject, request)
  const parent = issuer && parsePem(issuer.certificatePem)
  certificate.issuer = parent ? parent.subject : certificate.subject
  await certificate.subjectPublicKeyInfo.importKey(keys.publicKey as unknown as CryptoKey, crypto)
  certificate.extensions = extensionsOf(request)
  const signingKey = issuer
    ? await webcrypto.subtle.importKey('pkcs8', pemBytes(issuer.keyPem), algorithm, false, ['sign'])
    : keys.privateKey
  await certificate.sign(signingKey as unknown as CryptoKey, 'SHA-256', crypto)
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    certificatePem: toPem('CERTIFICATE', new Uint8Array(certificate.toSchema(true).toBER())),
    keyPem: toPem('PRIVATE KEY', new Uint8Array(pkcs8)),
  }
}

function setName(name: pkijs.RelativeDistinguishedNames, request: CertificateRequest): void {
  const add = (type: string, value: string): void => {
    name.typesAndValues.push(new pkijs.AttributeTypeAndValue({ type, value: new asn1js.Utf8String({ value }) }))
  }
  if (request.organization !== undefined) add('2.5.4.10', request.organization)
  if (request.commonName !== undefined) add('2.5.4.3', request.commonName)
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
    const bits = new Uint8Array([request.keyUsage ?? (request.ca ? usageBits.ca : usageBits.leaf)])
    extensions.push(
      new pkijs.Extension({
        extnID: '2.5.29.15',
        critical: true,
        extnValue: new asn1js.BitString({ valueHex: bits.buffer, unusedBits: 0 }).toBER(),
      }),
    )
  }
  if (request.usages) {
    const keyPurposes = request.usages.map((usage) => (usage === 'client' ? clientAuthOid : serverAuthOid))
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
  if (names.length > 0) extensions.push(extension('2.5.29.17', false, new pkijs.GeneralNames({ names })))
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

function parsePem(pem: string): pkijs.Certificate {
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
