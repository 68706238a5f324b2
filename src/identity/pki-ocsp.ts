import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import { engine, type Issued, importSigningKey, parsePem } from './pki.ts'
import { serialKey } from './revocation/crl.ts'

/** What a responder knows. */
export interface OcspKnowledge {
  /** The CA of the certificates that it is asked about. */
  readonly ca: Issued
  /** The signer: the CA, or a certificate of the CA for OCSP signing. */
  readonly signer: Issued
  /** By serial number, see {@link serialKey}; `undefined` for a certificate that is good. */
  readonly revoked: (serial: string) => { readonly at: Date; readonly reason: number } | undefined
  readonly now: Date
  readonly nextUpdate?: Date
}

const nonceOid = '1.3.6.1.5.5.7.48.1.2'
const requestsMax = 16
const status = { success: 0, malformedRequest: 1, unauthorized: 6 } as const

/** Returns the response to a request (RFC 6960), both as DER. A request that cannot be read, or of another CA, gets a refusal. */
export async function answerOcsp(request: Uint8Array<ArrayBuffer>, knowledge: OcspKnowledge): Promise<Uint8Array> {
  let parsed: pkijs.OCSPRequest
  try {
    parsed = pkijs.OCSPRequest.fromBER(request)
  } catch {
    return respond(status.malformedRequest)
  }
  const { requestList, requestExtensions = [] } = parsed.tbsRequest
  if (requestList.length === 0 || requestList.length > requestsMax) return respond(status.malformedRequest)
  const isOurs = await Promise.all(requestList.map(({ reqCert }) => isOfCa(reqCert, knowledge.ca)))
  if (isOurs.includes(false)) return respond(status.unauthorized)

  const signer = parsePem(knowledge.signer.certificatePem)
  const basic = new pkijs.BasicOCSPResponse()
  const { tbsResponseData: data } = basic
  data.responderID = signer.subject
  data.producedAt = wholeSecond(knowledge.now)
  data.responses = requestList.map(({ reqCert }) => toAnswer(reqCert, knowledge))
  const nonce = requestExtensions.filter(({ extnID }) => extnID === nonceOid)
  if (nonce.length > 0) data.responseExtensions = nonce
  if (knowledge.signer !== knowledge.ca) basic.certs = [signer]
  await basic.sign((await importSigningKey(knowledge.signer.keyPem)) as unknown as CryptoKey, 'SHA-256', engine)
  return respond(status.success, basic)
}

async function isOfCa(requested: pkijs.CertID, ca: Issued): Promise<boolean> {
  const hashes: Readonly<Record<string, string>> = {
    '1.3.14.3.2.26': 'SHA-1',
    '2.16.840.1.101.3.4.2.1': 'SHA-256',
  }
  const hashAlgorithm = hashes[requested.hashAlgorithm.algorithmId]
  if (hashAlgorithm === undefined) return false
  const issuer = parsePem(ca.certificatePem)
  const idOfCa = new pkijs.CertID()
  // Of the certificate only the number is taken, which is the asker's.
  const certificate = new pkijs.Certificate()
  certificate.serialNumber = requested.serialNumber
  await idOfCa.createForCertificate(certificate, { hashAlgorithm, issuerCertificate: issuer }, engine)
  const isSame = (one: asn1js.OctetString, other: asn1js.OctetString): boolean =>
    Buffer.from(one.valueBlock.valueHexView).equals(other.valueBlock.valueHexView)
  return (
    isSame(idOfCa.issuerNameHash, requested.issuerNameHash) && isSame(idOfCa.issuerKeyHash, requested.issuerKeyHash)
  )
}

function toAnswer(certID: pkijs.CertID, { revoked, now, nextUpdate }: OcspKnowledge): pkijs.SingleResponse {
  const serial = Buffer.from(certID.serialNumber.valueBlock.valueHexView).toString('hex')
  const found = revoked(serialKey(serial))
  return new pkijs.SingleResponse({
    certID,
    certStatus: found ? revokedStatus(found) : new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: 0 } }),
    thisUpdate: wholeSecond(now),
    ...(nextUpdate ? { nextUpdate: wholeSecond(nextUpdate) } : {}),
  })
}

function revokedStatus({ at, reason }: { at: Date; reason: number }): asn1js.Constructed {
  const code = new asn1js.Constructed({
    idBlock: { tagClass: 3, tagNumber: 0 },
    value: [new asn1js.Enumerated({ value: reason })],
  })
  return new asn1js.Constructed({
    idBlock: { tagClass: 3, tagNumber: 1 },
    value: [new asn1js.GeneralizedTime({ valueDate: wholeSecond(at) }), ...(reason === 0 ? [] : [code])],
  })
}

/** A response with that status; without `basic` a refusal. */
function respond(code: number, basic?: pkijs.BasicOCSPResponse): Uint8Array {
  const response = new pkijs.OCSPResponse()
  response.responseStatus = new asn1js.Enumerated({ value: code })
  if (basic) {
    response.responseBytes = new pkijs.ResponseBytes({
      responseType: pkijs.id_PKIX_OCSP_Basic,
      response: new asn1js.OctetString({ valueHex: basic.toSchema().toBER() }),
    })
  }
  return new Uint8Array(response.toSchema().toBER())
}

/** DER has no fractions of seconds here. */
function wholeSecond(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000)
}
