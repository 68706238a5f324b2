import type { NodeTags } from '../base/node-tags.ts'

/** The peer of a connection, as `judge.ts` decides once a connection. */
export type PeerIdentity = Anonymous | CertificatePeer | RefusedPeer

/** No certificate was asked for (or none was given in `request` mode): key authentication applies. */
export interface Anonymous {
  readonly kind: 'anonymous'
}

export interface CertificatePeer {
  readonly kind: 'certificate'
  /** The name in the certificate; never its key, serial or fingerprint. */
  readonly identity: string
  /** The subject's O, empty when there is none. */
  readonly organization: string
  /**
   * The organisation if it is part of the identity: then the same name in two organisations is two identities. `undefined`
   * if the name alone is the identity.
   */
  readonly identityOrganization?: string | undefined
  readonly roles: ReadonlySet<Role>
  /** Which runs it sees, follows and stops as an account; `own` by default. */
  readonly runs?: RunScope
  /** Uppercase hexadecimal. */
  readonly serial: string
  /** SHA-256, uppercase hexadecimal with colons. */
  readonly fingerprint: string
  /** Epoch milliseconds. */
  readonly notAfter: number
  /** Tags that the certificate vouches for: organisational units such as `OU=region=eu`. */
  readonly tags?: NodeTags
  /** Whether a SuperNode may give itself further tags; by default it may. */
  readonly allowsOwnTags?: boolean
  /** Whether several processes may use this identity at once, each as a node of its own. */
  readonly identitySharing: 'refuse' | 'allow'
}

/** Let in far enough to be told why not, and no further. */
export interface RefusedPeer {
  readonly kind: 'refused'
  readonly reason: RefusalReason
  /** One sentence that a person can act on. */
  readonly sentence: string
  /** What is known of the peer, for the audit log. */
  readonly identity?: string
  readonly organization?: string
  readonly serial?: string
  readonly fingerprint?: string
}

/** Identifies an identity in maps. */
export function identityKey({
  identity,
  identityOrganization,
}: Pick<CertificatePeer, 'identity' | 'identityOrganization'>): string {
  return identityOrganization === undefined ? identity : JSON.stringify([identity, identityOrganization])
}

/** `supernode`: the Fleet API. `cli`: the Control API. `admin`: the Control API, for all runs, nodes and federations. */
export const roles = ['supernode', 'cli', 'admin'] as const
export type Role = (typeof roles)[number]

/** From the narrowest to the widest. */
export const runScopes = ['own', 'organization', 'all'] as const
export type RunScope = (typeof runScopes)[number]

/** Stable codes: metric labels and audit fields. The order is the order of the checks. */
export const refusalReasons = [
  'no-certificate',
  'malformed-certificate',
  'unknown-ca',
  'missing-intermediate',
  'certificate-expired',
  'certificate-not-yet-valid',
  'invalid-chain',
  'weak-key-or-signature',
  'name-not-permitted',
  'wrong-key-usage',
  'wrong-extended-key-usage',
  'ca-used-as-client',
  'no-identity',
  'ambiguous-identity',
  'organization-not-allowed',
  'revoked-by-crl',
  'revoked-by-ocsp',
  'revocation-unknown',
  'role-not-granted',
  'too-many-connections',
  'node-of-another-identity',
  'identity-in-use',
  'node-blocked',
  'message-of-another',
  'run-of-another-account',
  'admin-required',
] as const
export type RefusalReason = (typeof refusalReasons)[number]

export function isRefusalReason(code: string): code is RefusalReason {
  return (refusalReasons as readonly string[]).includes(code)
}
