import { errorText } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type NodeTags, parseTag } from '../base/node-tags.ts'
import type { PeerIdentity, RefusalReason, RefusedPeer, Role } from './caller.ts'
import { allowsClientAuth, type Certificate, parseCertificate } from './certificate.ts'
import { type Fault, findPath } from './path.ts'
import { allowsOrganization, type IdentitySource, namesOrganizations, type Policy, rolesOf, runsOf } from './policy.ts'
import { refusalSentence } from './refusal-sentence.ts'
import type { TrustBundle } from './trust.ts'

/**
 * The input for the decision whether a peer is accepted. Only `judge` decides this, and it is pure: the listener calls it
 * again when trust, revocation data, policy or time have changed.
 */
export interface JudgementInput {
  /** DER, leaf first, as the peer sent them. */
  readonly chain: readonly Uint8Array[]
  readonly trust: TrustBundle
  readonly revocation: RevocationData
  readonly policy: Policy
  /** Epoch milliseconds. */
  readonly now: number
  /** Whether a peer without a certificate is rejected; otherwise it may authenticate with a key. */
  readonly requireCertificate: boolean
  /** The role that the peer needs; absent if callers of several roles use the port and each call is checked. */
  readonly role?: Role
}

/** Revocation lists and OCSP responses, as known at this moment. */
export interface RevocationData {
  /** Returns why the certificate may not be used, or `undefined`. */
  check(
    certificate: Certificate,
    issuer: Certificate,
    now: number,
  ): { reason: RefusalReason; about: string } | undefined
}

/** For deployments without revocation, in which certificates only expire. */
export const noRevocation: RevocationData = { check: () => undefined }

/** Accepts or rejects a peer, with the first reason that applies. */
export function judge(input: JudgementInput): PeerIdentity {
  if (input.chain.length === 0) {
    return input.requireCertificate ? refused('no-certificate') : { kind: 'anonymous' }
  }
  let chain: Certificate[]
  try {
    if (input.chain.length > limits.certificatePathMax)
      throw new Error(`more than ${limits.certificatePathMax} certificates`)
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
  if (!isPlainText(organization, true)) return refuse('no-identity', 'characters that do not show in the organisation')
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
    ...(namesOrganizations(input.policy) ? { identityOrganization: organization } : {}),
    roles,
    runs: runsOf(input.policy, identity.name, organization),
    serial: leaf.serial,
    fingerprint: leaf.fingerprint,
    notAfter: leaf.notAfter,
    identitySharing: input.policy.sharing,
    tags: tagsOf(leaf.subject.units),
    allowsOwnTags: input.policy.nodeTags === 'any',
  }
}

/** Organisational units of the form `key=value`; of several with the same key the first counts. */
function tagsOf(units: readonly string[]): NodeTags {
  const tags = units.flatMap((unit) => [parseTag(unit)].filter((tag) => tag !== undefined))
  return Object.fromEntries(tags.slice(0, limits.nodeTagsMax).toReversed())
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
    : { reason: 'no-identity', about: 'empty, too long, or with characters that do not show' }
}

function isPlainText(text: string, mayBeEmpty: boolean): boolean {
  if (text === '') return mayBeEmpty
  return text.length <= nameLengthMax && text.trim() === text && text.normalize() === text && !misleading.test(text)
}

const nameLengthMax = 1024
/**
 * Characters that do not show, that show as a space, or that turn the direction of writing: with them a name would look like
 * another one. Characters that Unicode has not assigned, or leaves to private use, may look like anything.
 */
const misleading = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]|(?! )\p{Zs}/u

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

/** The names of a refused peer are unproven: shortens them, and replaces what could forge a line of a log. */
function printable(text: string): string {
  const shown = text.replace(new RegExp(misleading, 'gu'), '\ufffd')
  return shown.length > 200 ? `${shown.slice(0, 200)}\u2026` : shown
}
