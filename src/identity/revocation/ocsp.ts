import { createHash } from 'node:crypto'
import * as asn1js from 'asn1js'
import { errorText } from '../../base/errors.ts'
import { type Certificate, ocspSigningOid, parseCertificate } from '../certificate.ts'
import { hasSigned } from '../trust.ts'
import { bytesOf, type Element, elementsIn, extensionsIn, firstIn, hexOf, tags, timeOf, wholeOf } from './der.ts'
import { isSignature } from './signature.ts'

/** What a responder says of one certificate (RFC 6960), signed by its CA or by a responder that the CA certified. */
export interface OcspAnswer {
  readonly status: 'good' | 'revoked' | 'unknown'
  /** Epoch milliseconds. */
  readonly thisUpdate: number
  readonly nextUpdate: number | undefined
}

/** The responder refused to answer. Such a response has no signature. */
export class OcspRefusal extends Error {
  readonly status: number
  constructor(status: number) {
    super(`answers '${refusals.get(status) ?? `status ${status}`}'`)
    this.status = status
  }
}

export const malformedRequest = 1
export const unauthorized = 6
const refusals: ReadonlyMap<number, string> = new Map([
  [malformedRequest, 'malformed request'],
  [2, 'internal error'],
  [3, 'try later'],
  [5, 'signature required'],
  [unauthorized, 'unauthorized'],
])

const oid = {
  basicResponse: '2b0601050507300101',
  nonce: '2b0601050507300102',
} as const
/** By the OID of the digest, as hexadecimal. */
const digests: ReadonlyMap<string, CertIdDigest> = new Map([
  ['2b0e03021a', 'sha1'],
  ['608648016503040201', 'sha256'],
])
const digestOids = { sha1: '1.3.14.3.2.26', sha256: '2.16.840.1.101.3.4.2.1' } as const

/** How the certificate asked about is named: nothing depends on the strength of this digest. */
export type CertIdDigest = 'sha1' | 'sha256'

/** How far the clocks of SuperLink and responder may differ. */
export const ocspSkewMs = 5 * 60_000
const bytesMax = 256 * 1024
const answersMax = 256
const certificatesMax = 8

/** DER of a request about one certificate. `nonce` comes back in the responses of responders that support it. */
export function ocspRequest(
  certificate: Certificate,
  issuer: Certificate,
  { digest, nonce }: { digest: CertIdDigest; nonce?: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const { name, key } = issuerHashes(issuer, digest)
  const certId = sequence([
    sequence([new asn1js.ObjectIdentifier({ value: digestOids[digest] }), new asn1js.Null()]),
    octets(name),
    octets(key),
    new asn1js.Integer({ valueHex: Uint8Array.from(serialBytes(certificate)).buffer }),
  ])
  const extension = (value: Uint8Array): asn1js.Sequence =>
    sequence([
      new asn1js.ObjectIdentifier({ value: '1.3.6.1.5.5.7.48.1.2' }),
      octets(new Uint8Array(octets(value).toBER())),
    ])
  const extensions = nonce
    ? [
        new asn1js.Constructed({
          idBlock: { tagClass: 3, tagNumber: 2 },
          value: [sequence([extension(nonce)])],
        }),
      ]
    : []
  const request = sequence([sequence([sequence([sequence([certId])]), ...extensions])])
  return new Uint8Array(request.toBER())
}

export interface OcspQuestion {
  readonly certificate: Certificate
  readonly issuer: Certificate
  /** The nonce of the request; a response with another nonce belongs to another request. */
  readonly nonce?: Uint8Array
  /** Epoch milliseconds. */
  readonly now: number
  /** Whether a certificate of `issuer` that signs responses is known to be revoked. */
  readonly isRevoked?: (responder: Certificate) => boolean
}

/**
 * Reads a response to the end, and believes it only if the issuer, or a responder that the issuer certified for this, has
 * signed it, and if it is of this time. Throws an Error that says why it is not to be believed; an {@link OcspRefusal} when
 * the responder has no answer.
 */
export function readOcspResponse(der: Uint8Array, question: OcspQuestion): OcspAnswer {
  if (der.length > bytesMax) throw new Error(`it has more than ${bytesMax >> 10} KiB`)
  const { data, certificates } = openResponse(der)
  const responder = signerOf(data, certificates, question)
  if (!responder) throw new Error('neither the issuer nor a responder that it certified has signed it')
  return answerIn(data, question)
}

/** The signed part, not believed yet. */
interface ResponseData {
  readonly bytes: Uint8Array
  readonly algorithm: string
  readonly signature: Uint8Array
  readonly responder: Element
  readonly answers: readonly Element[]
  readonly nonce: Uint8Array | undefined
  readonly der: Uint8Array
}

function openResponse(der: Uint8Array): { data: ResponseData; certificates: readonly Certificate[] } {
  const whole = wholeOf(der)
  const [status, body] = elementsIn(der, whole)
  if (whole.tag !== tags.sequence || status?.tag !== tags.enumerated) throw new Error('it is no OCSP response')
  const code = der[status.from] ?? -1
  if (code !== 0 || status.to - status.from !== 1) throw new OcspRefusal(code)
  if (body?.tag !== 0xa0) throw new Error('it is empty')
  const [type, basic] = elementsIn(der, firstIn(der, body))
  if (!type || hexOf(der, type) !== oid.basicResponse || basic?.tag !== tags.octetString)
    throw new Error('it is of an unknown type')
  const [data, algorithm, signature, certificates, ...more] = elementsIn(der, firstIn(der, basic))
  const isBasic = data?.tag === tags.sequence && algorithm?.tag === tags.sequence && signature?.tag === tags.bitString
  if (!isBasic || more.length > 0 || der[signature.from] !== 0) throw new Error('it is no OCSP response')
  return {
    data: {
      ...readData(der, data),
      algorithm: hexOf(der, firstIn(der, algorithm)),
      signature: der.subarray(signature.from + 1, signature.to),
    },
    certificates: certificates ? readCertificates(der, certificates) : [],
  }
}

function readData(der: Uint8Array, data: Element): Omit<ResponseData, 'algorithm' | 'signature'> {
  const fields = [...elementsIn(der, data)]
  // The version is left out where it is 1; there is no other.
  if (fields[0]?.tag === 0xa0) throw new Error('it is of an unknown version')
  const [responder, producedAt, answers, extensions, ...more] = fields
  if (!responder || producedAt?.tag !== tags.generalizedTime || answers?.tag !== tags.sequence || more.length > 0)
    throw new Error('it is no OCSP response')
  const known = extensions ? extensionsIn(der, firstIn(der, extensions), [oid.nonce]) : new Map<string, Element>()
  const nonce = known.get(oid.nonce)
  const list: Element[] = []
  for (const answer of elementsIn(der, answers)) {
    if (list.length >= answersMax) throw new Error(`it has more than ${answersMax} answers`)
    list.push(answer)
  }
  return {
    der,
    bytes: bytesOf(der, data),
    responder,
    answers: list,
    nonce: nonce && contentOf(der, firstIn(der, nonce)),
  }
}

function readCertificates(der: Uint8Array, field: Element): Certificate[] {
  const found: Certificate[] = []
  for (const element of elementsIn(der, firstIn(der, field))) {
    if (found.length >= certificatesMax) throw new Error(`it has more than ${certificatesMax} certificates`)
    try {
      found.push(parseCertificate(Uint8Array.from(bytesOf(der, element))))
    } catch (cause) {
      throw new Error(`a certificate in it cannot be read: ${errorText(cause)}`, { cause })
    }
  }
  return found
}

/** The key that signed it and may: the issuer's own, or that of a certificate of the issuer for OCSP signing only. */
function signerOf(
  data: ResponseData,
  certificates: readonly Certificate[],
  { issuer, now, isRevoked }: OcspQuestion,
): Certificate | undefined {
  const hasSignedThis = (one: Certificate): boolean =>
    isNamed(data, one) && isSignature(data.signature, data.algorithm, data.bytes, one.x509.publicKey)
  if (issuer.unfitKey === undefined && hasSignedThis(issuer)) return issuer
  return certificates.find(
    (one) => mayAnswerFor(issuer, one, now) && hasSignedThis(one) && hasSigned(issuer, one) && !isRevoked?.(one),
  )
}

function mayAnswerFor(issuer: Certificate, one: Certificate, now: number): boolean {
  return (
    one.issuerDer === issuer.subjectDer &&
    one.extendedKeyUsages?.includes(ocspSigningOid) === true &&
    (one.keyUsages?.has('digitalSignature') ?? true) &&
    [one.unfitKey, one.weakSignature].every((fault) => fault === undefined) &&
    one.unsupported.length === 0 &&
    one.notBefore <= now &&
    now <= one.notAfter
  )
}

/** A responder is named by its name ([1]) or by the SHA-1 digest of its key ([2]). */
function isNamed({ der, responder }: ResponseData, certificate: Certificate): boolean {
  const inner = firstIn(der, responder)
  if (responder.tag === 0xa1) return Buffer.from(bytesOf(der, inner)).toString('hex') === certificate.subjectDer
  if (responder.tag !== 0xa2) return false
  return Buffer.from(contentOf(der, inner)).equals(issuerHashes(certificate, 'sha1').key)
}

function answerIn(data: ResponseData, question: OcspQuestion): OcspAnswer {
  const { nonce, now } = question
  if (data.nonce && nonce && !Buffer.from(data.nonce).equals(nonce)) throw new Error('it answers another request')
  const matching = data.answers.filter((answer) => isAbout(data.der, answer, question))
  const [answer, ...others] = matching
  if (!answer) throw new Error('it does not speak of this certificate')
  if (others.length > 0) throw new Error('it speaks of this certificate twice')
  const read = readAnswer(data.der, answer)
  if (read.thisUpdate > now + ocspSkewMs) throw new Error('it is of the future: check the clocks')
  if (isOutdated(read, now)) throw new Error(`it is outdated, of ${new Date(read.thisUpdate).toISOString()}`)
  return read
}

/** Without a nextUpdate there is always newer information: an answer is of today, or a recorded one. */
function isOutdated({ thisUpdate, nextUpdate }: OcspAnswer, now: number): boolean {
  return (nextUpdate ?? thisUpdate + dayMs) + ocspSkewMs < now
}

const dayMs = 86_400_000

function isAbout(der: Uint8Array, answer: Element, { certificate, issuer }: OcspQuestion): boolean {
  const [algorithm, name, key, serial] = elementsIn(der, firstIn(der, answer))
  if (!algorithm || !name || !key || serial?.tag !== tags.integer) throw new Error('an answer in it cannot be read')
  const digest = digests.get(hexOf(der, firstIn(der, algorithm)))
  if (!digest) return false
  const hashes = issuerHashes(issuer, digest)
  return (
    hashes.name.equals(contentOf(der, name)) &&
    hashes.key.equals(contentOf(der, key)) &&
    serialBytes(certificate).equals(contentOf(der, serial))
  )
}

function readAnswer(der: Uint8Array, answer: Element): OcspAnswer {
  const [, status, thisUpdate, ...rest] = elementsIn(der, answer)
  const name = status && statuses.get(status.tag)
  if (!name || thisUpdate?.tag !== tags.generalizedTime) throw new Error('an answer in it cannot be read')
  const nextUpdate = rest[0]?.tag === 0xa0 ? rest.shift() : undefined
  const extensions = rest[0]?.tag === 0xa1 ? rest.shift() : undefined
  if (rest.length > 0) throw new Error('an answer in it cannot be read')
  if (extensions) extensionsIn(der, firstIn(der, extensions), [])
  return {
    status: name,
    thisUpdate: timeOf(der, thisUpdate),
    nextUpdate: nextUpdate && timeOf(der, firstIn(der, nextUpdate)),
  }
}

const statuses: ReadonlyMap<number, OcspAnswer['status']> = new Map([
  [0x80, 'good'],
  [0xa1, 'revoked'],
  [0x82, 'unknown'],
])

/** Digests of the issuer's name and key (the bits without their wrapping), by which it is named. */
function issuerHashes(issuer: Certificate, digest: CertIdDigest): { name: Buffer; key: Buffer } {
  const spki = issuer.x509.publicKey.export({ type: 'spki', format: 'der' })
  const [, bits] = elementsIn(spki, wholeOf(spki))
  if (!bits) throw new Error('the key of the issuer cannot be read')
  const hash = (bytes: Uint8Array): Buffer => createHash(digest).update(bytes).digest()
  return { name: hash(Buffer.from(issuer.subjectDer, 'hex')), key: hash(spki.subarray(bits.from + 1, bits.to)) }
}

/** As DER writes a positive integer. */
function serialBytes({ serial }: Certificate): Buffer {
  const even = serial.length % 2 === 0 ? serial : `0${serial}`
  const bytes = Buffer.from(even, 'hex')
  return (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes
}

function contentOf(der: Uint8Array, { from, to }: Element): Uint8Array {
  return der.subarray(from, to)
}

function sequence(value: asn1js.BaseBlock[]): asn1js.Sequence {
  return new asn1js.Sequence({ value: value as unknown as asn1js.AsnType[] })
}

function octets(value: Uint8Array): asn1js.OctetString {
  return new asn1js.OctetString({ valueHex: Uint8Array.from(value).buffer })
}
