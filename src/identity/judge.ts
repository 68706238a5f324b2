import { errorText } from '../base/errors.ts'
import type { PeerIdentity, RefusalReason, RefusedPeer, Role } from './caller.ts'
import { allowsClientAuth, type Certificate, parseCertificate } from './certificate.ts'
import { allowsOrganization, type IdentitySource, type Policy, rolesOf } from './policy.ts'
import { refusalSentence } from './refusal-sentence.ts'
import { hasSigned, type TrustBundle } from './trust.ts'

/**
 * Decides about a peer from its certificates. Pure, and the only place that decides. Knows nothing of sockets: the
 * listener asks again when trust, revocation data, policy or the clock change.
 */
export interface JudgementInput {
  /** DER, leaf first, as the peer sent them. */
  readonly chain: readonly Uint8Array[]
  readonly trust: TrustBundle
  readonly revocation: RevocationData
  readonly policy: Policy
  /** Epoch milliseconds. */
  readonly now: number
  /** Whether a peer without a certificate is refused, or left to key authentication. */
  readonly requireCertificate: boolean
  /** What the peer must be allowed to be; absent where calls of several roles come in and each is checked. */
  readonly role?: Role
}

/** What is known about revoked certificates at this moment. */
export interface RevocationData {
  /** `undefined` when the certificate may be used. */
  check(
    certificate: Certificate,
    issuer: Certificate,
    now: number,
  ): { reason: RefusalReason; about: string } | undefined
}

/** For deployments where removal is by expiry alone. */
export const noRevocation: RevocationData = { check: () => undefined }

/** A chain of more certificates than this is refused unread. */
const chainMax = 8

export function judge(input: JudgementInput): PeerIdentity {
  if (input.chain.length === 0) {
    return input.requireCertificate ? refused('no-certificate') : { kind: 'anonymous' }
  }
  let chain: Certificate[]
  try {
    if (input.chain.length > chainMax) throw new Error(`more than ${chainMax} certificates`)
    chain = input.chain.map(parseCertificate)
  } catch (error) {
    return refused('malformed-certificate', errorText(error))
  }
  const leaf = chain[0] as Certificate
  const refuse = (reason: RefusalReason, about = ''): RefusedPeer => refused(reason, about, leaf)

  if (leaf.isCa) return refuse('ca-used-as-client')
  const path = findPath(leaf, chain.slice(1), input)
  if ('reason' in path) return refuse(path.reason, path.about)
  if (leaf.keyUsages && !leaf.keyUsages.has('digitalSignature')) return refuse('wrong-key-usage')
  if (!allowsClientAuth(leaf)) return refuse('wrong-extended-key-usage')

  const identity = identityOf(leaf, input.policy.source)
  if ('reason' in identity) return refuse(identity.reason, identity.about)
  const [organization = '', ...others] = leaf.subject.organizations
  if (others.length > 0) return refuse('ambiguous-identity', `organisations ${leaf.subject.organizations.join(', ')}`)
  if (!isPlainText(organization, true)) return refuse('no-identity', 'control characters in the organisation')
  for (const issuer of path.issuers) {
    if (!allowsOrganization(input.policy, issuer, organization))
      return refuse('organization-not-allowed', `${issuer.subject.text}: '${organization}'`)
  }
  for (const [index, certificate] of [leaf, ...path.issuers].entries()) {
    const issuer = path.issuers[index]
    const revoked = issuer && input.revocation.check(certificate, issuer, input.now)
    if (revoked) return refuse(revoked.reason, revoked.about)
  }
  const roles = rolesOf(input.policy, identity.name, organization)
  if (input.role && !roles.has(input.role)) return refuse('role-not-granted', `${identity.name} as ${input.role}`)
  return {
    kind: 'certificate',
    identity: identity.name,
    organization,
    roles,
    serial: leaf.serial,
    fingerprint: leaf.fingerprint,
    notAfter: leaf.notAfter,
    identitySharing: input.policy.sharing,
  }
}

interface Fault {
  readonly reason: RefusalReason
  readonly about: string
}

/**
 * Searches a path from the leaf to a trust anchor (RFC 5280 section 6), over the peer's and the operator's intermediates.
 * Answers the issuers from the leaf's own to the anchor, or the fault of the path that came furthest.
 */
function findPath(
  leaf: Certificate,
  sent: readonly Certificate[],
  input: JudgementInput,
): { issuers: Certificate[] } | Fault {
  const leafFault = ownFault(leaf, input.now) ?? weakness(leaf, [leaf.unfitKey, leaf.weakSignature])
  if (leafFault) return leafFault
  const candidates = [...input.trust.anchors, ...input.trust.intermediates, ...sent.filter((one) => one.isCa)]
  let best: { fault: Fault; depth: number } | undefined
  let steps = 0

  const search = (certificate: Certificate, issuers: Certificate[]): Certificate[] | undefined => {
    const named = candidates.filter((one) => one.subjectDer === certificate.issuerDer && !issuers.includes(one))
    if (named.length === 0) note(missingFault(certificate, leaf, sent, input.trust), issuers.length)
    for (const issuer of named) {
      // Bounds the work for a peer that sends many certificates of one name.
      if (++steps > 64) return undefined
      const isAnchor = input.trust.anchors.includes(issuer)
      const fault = issuerFault(certificate, issuer, issuers, { now: input.now, isAnchor })
      if (fault) {
        note(fault, issuers.length + 1)
        continue
      }
      const path = [...issuers, issuer]
      if (isAnchor) return path
      const found = path.length < chainMax ? search(issuer, path) : undefined
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

/** What is wrong with `issuer` as the issuer of `certificate`, below which `below` other CAs stand already. */
function issuerFault(
  certificate: Certificate,
  issuer: Certificate,
  below: readonly Certificate[],
  { now, isAnchor }: { now: number; isAnchor: boolean },
): Fault | undefined {
  const invalid = (what: string): Fault => ({ reason: 'invalid-chain', about: `${issuer.subject.text} ${what}` })
  if (!issuer.isCa) return invalid('is not a CA')
  // Self-issued CAs (a CA with a new key) do not count: RFC 5280 section 4.2.1.9.
  const intermediates = below.filter((one) => one.subjectDer !== one.issuerDer).length
  if (issuer.pathLength !== undefined && intermediates > issuer.pathLength) return invalid('allows fewer intermediates')
  if (issuer.keyUsages && !issuer.keyUsages.has('keyCertSign')) return invalid('may not sign certificates (key usage)')
  // What a CA is limited to, it cannot vouch beyond: as OpenSSL and Go see it, though RFC 5280 does not say so.
  if (!allowsClientAuth(issuer)) return invalid('may not vouch for clients (extended key usage)')
  // Before the key is used. Nobody relies on what an anchor's signature says of itself.
  const weak = weakness(issuer, isAnchor ? [issuer.unfitKey] : [issuer.unfitKey, issuer.weakSignature])
  if (weak) return weak
  if (!hasSigned(issuer, certificate)) return { reason: 'unknown-ca', about: `${issuer.subject.text}, but not its key` }
  const own = ownFault(issuer, now)
  return own && invalid(own.what)
}

/** What is wrong with a certificate whoever issued it. */
function ownFault(certificate: Certificate, now: number): (Fault & { what: string }) | undefined {
  const { notBefore, notAfter, unsupported } = certificate
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
  if (extension === undefined) return undefined
  const what = `has extension ${extension}, which is not supported`
  return { reason: 'invalid-chain', about: `it ${what}`, what }
}

function weakness({ subject }: Certificate, known: readonly (string | undefined)[]): Fault | undefined {
  const found = known.find((one) => one !== undefined)
  return found === undefined
    ? undefined
    : { reason: 'invalid-chain', about: `${subject.text} is not to be relied on: ${found}` }
}

/** The one name of a certificate, by the policy's source. */
export function identityOf({ names, subject }: Certificate, source: IdentitySource): { name: string } | Fault {
  if (names.uris.length > 1 && (source === 'auto' || source === 'uri')) {
    return { reason: 'ambiguous-identity', about: `${names.uris.length} URIs` }
  }
  const spiffe = names.uris.filter((uri) => uri.startsWith('spiffe://'))
  const bySource: Record<IdentitySource, readonly string[]> = {
    auto: spiffe.length > 0 ? spiffe : subject.commonNames.length > 0 ? subject.commonNames : names.dns,
    uri: names.uris,
    dns: names.dns,
    email: names.emails,
    cn: subject.commonNames,
    subject: subject.text === '' ? [] : [subject.text],
  }
  const found = bySource[source]
  if (found.length > 1) return { reason: 'ambiguous-identity', about: found.join(', ').slice(0, 200) }
  const [name] = found
  if (name === undefined) return { reason: 'no-identity', about: source === 'auto' ? '' : `no ${source}` }
  return isPlainText(name, false)
    ? { name }
    : { reason: 'no-identity', about: 'empty, too long or with control characters' }
}

function isPlainText(text: string, mayBeEmpty: boolean): boolean {
  return (mayBeEmpty || text.trim() !== '') && text.length <= nameLengthMax && !unprintable.test(text)
}

const nameLengthMax = 1024
/** Control characters, line ends, and those that turn the direction of writing: in a log they would look like another name. */
const unprintable = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

function refused(reason: RefusalReason, about = '', leaf?: Certificate): RefusedPeer {
  const name = leaf?.names.uris[0] ?? leaf?.subject.commonNames[0] ?? leaf?.names.dns[0]
  const organization = leaf?.subject.organizations[0]
  return {
    kind: 'refused',
    reason,
    sentence: refusalSentence(reason, printable(about)),
    ...(name === undefined ? {} : { identity: printable(name) }),
    ...(organization === undefined ? {} : { organization: printable(organization) }),
    ...(leaf ? { serial: leaf.serial, fingerprint: leaf.fingerprint } : {}),
  }
}

/** Nobody has vouched for the words of a refused peer: they must not be able to forge lines of a log. */
function printable(text: string): string {
  const shown = text.replace(new RegExp(unprintable, 'gu'), '\ufffd')
  return shown.length > 200 ? `${shown.slice(0, 200)}\u2026` : shown
}
