import { limits } from '../base/limits.ts'
import type { RefusalReason } from './caller.ts'
import { allowsClientAuth, type Certificate } from './certificate.ts'
import { type ConstrainedNames, constraintFault, isHostName } from './name-constraints.ts'
import { casOf, hasSigned, type TrustBundle } from './trust.ts'

export interface Fault {
  readonly reason: RefusalReason
  readonly about: string
}

/**
 * Searches a path from the leaf to a trust anchor (RFC 5280 section 6), over the peer's and the operator's intermediates.
 * Returns the issuers from the leaf's own to the anchor, or the fault of the path that came furthest.
 */
export function findPath(
  leaf: Certificate,
  sent: readonly Certificate[],
  input: { readonly trust: TrustBundle; readonly now: number },
): { issuers: Certificate[] } | Fault {
  const leafFault = ownFault(leaf, input.now) ?? weakness(leaf, [leaf.unfitKey, leaf.weakSignature])
  if (leafFault) return leafFault
  const candidates = [...casOf(input.trust), ...sent.filter((one) => one.isCa)]
  let best: { fault: Fault; depth: number } | undefined
  let steps = 0

  const search = (certificate: Certificate, issuers: Certificate[]): Certificate[] | undefined => {
    const named = candidates.filter((one) => one.subjectDer === certificate.issuerDer && !issuers.includes(one))
    if (named.length === 0) note(missingFault(certificate, leaf, sent, input.trust), issuers.length)
    for (const issuer of named) {
      // Bounds the work for a peer that sends many certificates of one name.
      if (++steps > 64) return undefined
      const isAnchor = input.trust.anchors.includes(issuer)
      const fault = issuerFault(issuer, [leaf, ...issuers], { now: input.now, isAnchor })
      if (fault) {
        note(fault, issuers.length + 1)
        continue
      }
      const path = [...issuers, issuer]
      if (isAnchor) return path
      const found = path.length < limits.certificatePathMax ? search(issuer, path) : undefined
      if (found) return found
    }
    return undefined
  }
  const note = (fault: Fault, depth: number): void => {
    if (!best || depth > best.depth) best = { fault, depth }
  }

  const issuers = search(leaf, [])
  if (issuers) return { issuers }
  return best?.fault ?? { reason: 'unknown-ca', about: leaf.issuerText }
}

function missingFault(
  certificate: Certificate,
  leaf: Certificate,
  sent: readonly Certificate[],
  trust: TrustBundle,
): Fault {
  // When one of our CAs has signed no certificate of that name and the peer sent nothing but its leaf, an intermediate may
  // be missing: the authority key identifiers would tell, but many CAs leave them out, so the organisation of names decides.
  const related = trust.anchors.some((anchor) => shareOrganization(anchor, certificate))
  if (certificate === leaf && sent.length === 0 && related && certificate.issuerDer !== certificate.subjectDer) {
    return { reason: 'missing-intermediate', about: certificate.issuerText }
  }
  return { reason: 'unknown-ca', about: certificate.issuerText }
}

function shareOrganization(anchor: Certificate, certificate: Certificate): boolean {
  return anchor.subject.organizations.some(
    (organization) => organization !== '' && certificate.issuerText.split(',').includes(`O=${organization}`),
  )
}

/** What is wrong with `issuer` as the next certificate of a path that begins with the leaf. */
function issuerFault(
  issuer: Certificate,
  path: readonly [Certificate, ...Certificate[]],
  { now, isAnchor }: { now: number; isAnchor: boolean },
): Fault | undefined {
  const certificate = path.at(-1) as Certificate
  const invalid = (what: string): Fault => ({ reason: 'invalid-chain', about: `${issuer.subject.text} ${what}` })
  if (!issuer.isCa) return invalid('is not a CA')
  if (issuer.subject.text === '') return invalid('has no name')
  // Self-issued CAs (a CA with a new key) do not count: RFC 5280 section 4.2.1.9.
  const intermediates = path.slice(1).filter((one) => !isSelfIssued(one)).length
  if (issuer.pathLength !== undefined && intermediates > issuer.pathLength) return invalid('allows fewer intermediates')
  if (issuer.keyUsages && !issuer.keyUsages.has('keyCertSign')) return invalid('may not sign certificates (key usage)')
  // What a CA is limited to, it cannot vouch beyond: as OpenSSL and Go see it, though RFC 5280 does not say so.
  if (!allowsClientAuth(issuer)) return invalid('may not vouch for clients (extended key usage)')
  // Before the key is used. An anchor's signature of itself proves nothing.
  const weak = weakness(issuer, isAnchor ? [issuer.unfitKey] : [issuer.unfitKey, issuer.weakSignature])
  if (weak) return weak
  if (isOfAnotherKey(certificate, issuer) || !hasSigned(issuer, certificate))
    return { reason: 'unknown-ca', about: `${issuer.subject.text}, but not its key` }
  const fault = ownFault(issuer, now, isAnchor)
  if (fault) return invalid(fault.what)
  return constrained(issuer, path)
}

const isSelfIssued = ({ subjectDer, issuerDer }: Certificate): boolean => subjectDer === issuerDer

/** The key identifiers tell: two CAs of one name may even have one key, and be meant to be told apart. */
function isOfAnotherKey({ authorityKeyId }: Certificate, { subjectKeyId }: Certificate): boolean {
  return authorityKeyId !== undefined && subjectKeyId !== undefined && authorityKeyId !== subjectKeyId
}

/** RFC 5280 section 6.1.3 (b) and (c): all names below are within what the CA may vouch for. */
function constrained(issuer: Certificate, path: readonly Certificate[]): Fault | undefined {
  const { nameConstraints } = issuer
  if (!nameConstraints) return undefined
  for (const [index, certificate] of path.entries()) {
    // A CA with a new key keeps its name; what is below it is looked at.
    if (index > 0 && isSelfIssued(certificate)) continue
    const fault = constraintFault(nameConstraints, index === 0 ? leafNames(certificate) : certificate.constrainedNames)
    if (fault === undefined) continue
    const whose = certificate.subject.text || 'a certificate without subject'
    return { reason: 'name-not-permitted', about: `${issuer.subject.text}: ${whose} ${fault}` }
  }
  return undefined
}

/** A common name that is a host name must obey the name constraints for host names. */
function leafNames({ subject, constrainedNames }: Certificate): ConstrainedNames {
  const hosts = subject.commonNames.filter((name) => name.includes('.') && isHostName(name))
  return { ...constrainedNames, dns: [...constrainedNames.dns, ...hosts] }
}

/** Returns what is wrong with a certificate, regardless of its issuer. */
function ownFault(certificate: Certificate, now: number, isAnchor = false): (Fault & { what: string }) | undefined {
  const { notBefore, notAfter, unsupported, flaw } = certificate
  const instant = (at: number): string => new Date(at).toISOString()
  if (notBefore > now) {
    const about = `from ${instant(notBefore)}`
    return { reason: 'certificate-not-yet-valid', about, what: `is not valid yet, but ${about}` }
  }
  if (notAfter < now) {
    const about = `on ${instant(notAfter)}`
    return { reason: 'certificate-expired', about, what: `has expired ${about}` }
  }
  const [extension] = unsupported
  const what = extension === undefined ? flaw : `has extension ${extension}, which is not supported`
  if (what === undefined || (isAnchor && extension === undefined)) return undefined
  return { reason: 'invalid-chain', about: `it ${what}`, what }
}

function weakness({ subject }: Certificate, known: readonly (string | undefined)[]): Fault | undefined {
  const found = known.find((one) => one !== undefined)
  return found === undefined ? undefined : { reason: 'weak-key-or-signature', about: `${subject.text}: ${found}` }
}
