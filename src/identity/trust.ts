import { UsageError } from '../base/errors.ts'
import type { Certificate } from './certificate.ts'
import { type FileFlag, readCertificates } from './tls-files.ts'

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
  const cas = readCertificates(file).filter((certificate) => certificate.isCa)
  if (cas.length === 0)
    throw new UsageError(`${file.flag}: ${file.path} holds no CA certificate: a CA has basicConstraints CA:TRUE.`)
  return toTrustBundle(cas)
}

/** All of them, anchors first. */
export function casOf({ anchors, intermediates }: TrustBundle): Certificate[] {
  return [...anchors, ...intermediates]
}

export function toTrustBundle(cas: readonly Certificate[]): TrustBundle {
  const selfIssued = cas.filter((ca) => ca.subjectDer === ca.issuerDer)
  const issuedHere = (ca: Certificate): boolean => selfIssued.some((anchor) => isIssuer(anchor, ca))
  const others = cas.filter((ca) => !selfIssued.includes(ca))
  return {
    anchors: [...selfIssued, ...others.filter((ca) => !issuedHere(ca))],
    intermediates: others.filter(issuedHere),
  }
}

/** By name and by signature: a CA that was made anew has the old one's name. */
export function isIssuer(issuer: Certificate, certificate: Certificate): boolean {
  return issuer.subjectDer === certificate.issuerDer && hasSigned(issuer, certificate)
}

/** The issuer whose signature was verified. Open connections are judged again and again. */
const verified = new WeakMap<Certificate, Certificate>()

export function hasSigned(issuer: Certificate, certificate: Certificate): boolean {
  if (verified.get(certificate) === issuer) return true
  try {
    if (!certificate.x509.verify(issuer.x509.publicKey)) return false
    verified.set(certificate, issuer)
    return true
  } catch {
    // Kinds of key and signature that do not fit.
    return false
  }
}
