import { errorText, UsageError } from '../base/errors.ts'
import { type Certificate, parseCertificate } from './certificate.ts'
import { pemCertificates } from './pem.ts'
import { type FileFlag, readTextFile } from './tls-files.ts'

/**
 * The CAs whose clients are let in. Self-signed ones are trust anchors; others are intermediates that help to build a
 * path, and anchors only when no self-signed one issued them (an operator may trust an intermediate alone).
 */
export interface TrustBundle {
  readonly anchors: readonly Certificate[]
  readonly intermediates: readonly Certificate[]
}

/** Reads a bundle file. Throws a UsageError that names flag and file. */
export function readTrustBundle(file: FileFlag): TrustBundle {
  const text = readTextFile(file)
  const found = pemCertificates(text)
  if (found.length === 0)
    throw new UsageError(`${file.flag}: ${file.path} holds no certificate: give a PEM file with the CA certificates.`)
  let certificates: Certificate[]
  try {
    certificates = found.map(parseCertificate)
  } catch (error) {
    throw new UsageError(`${file.flag}: ${file.path} holds a certificate that cannot be read (${errorText(error)}).`, {
      cause: error,
    })
  }
  const cas = certificates.filter((certificate) => certificate.isCa)
  if (cas.length === 0)
    throw new UsageError(`${file.flag}: ${file.path} holds no CA certificate: a CA has basicConstraints CA:TRUE.`)
  return toTrustBundle(cas)
}

export function toTrustBundle(cas: readonly Certificate[]): TrustBundle {
  const selfIssued = cas.filter((ca) => ca.subjectDer === ca.issuerDer)
  const issuedHere = (ca: Certificate): boolean => selfIssued.some((anchor) => anchor.subjectDer === ca.issuerDer)
  const others = cas.filter((ca) => !selfIssued.includes(ca))
  return {
    anchors: [...selfIssued, ...others.filter((ca) => !issuedHere(ca))],
    intermediates: others.filter(issuedHere),
  }
}
