import { UsageError } from '../base/errors.ts'
import { noRevocation, type RevocationData } from './judge.ts'
import { caKey, crlRuleOf, defaultPolicy, namesOrganizations, type Policy, readPolicy } from './policy.ts'
import type { Crl } from './revocation/crl.ts'
import { readCrls, revocationOf } from './revocation/crls.ts'
import type { FileFlag } from './tls-files.ts'
import { casOf, readTrustBundle, type TrustBundle } from './trust.ts'

/** Everything that peers' certificates are judged by and that comes from files. It is read and replaced as a whole. */
export interface ClientTrust {
  readonly trust: TrustBundle
  readonly policy: Policy
  readonly crls: readonly Crl[]
  readonly revocation: RevocationData
}

export interface ClientTrustFiles {
  readonly ca: FileFlag
  readonly policy: FileFlag | undefined
  /** A revocation list, or a folder of them. */
  readonly crl: FileFlag | undefined
}

type WithWarnings<T> = { readonly value: T; readonly warnings: readonly string[] }

/** Those of the files that are small. Throws a UsageError that names flag and file. */
export function readTrustAndPolicy(
  files: Pick<ClientTrustFiles, 'ca' | 'policy'>,
  now: number,
): WithWarnings<Pick<ClientTrust, 'trust' | 'policy'>> {
  const trust = readTrustBundle(files.ca)
  const policy = files.policy === undefined ? defaultPolicy : readPolicy(files.policy)
  return { value: { trust, policy }, warnings: warningsOf(files, trust, policy, now) }
}

/**
 * Reads everything, other work going on meanwhile. Rejects with a UsageError that names flag and file.
 *
 * @param former the set in use, whose revocation lists are not to be replaced by older ones.
 */
export async function readClientTrust(
  files: ClientTrustFiles,
  now: number,
  former?: ClientTrust,
): Promise<WithWarnings<ClientTrust>> {
  const { value, warnings } = readTrustAndPolicy(files, now)
  if (!files.crl) return { value: { ...value, crls: [], revocation: noRevocation }, warnings }
  const lists = await readCrls(files.crl, casOf(value.trust), { now, previous: former?.crls ?? [] })
  const revocation = revocationOf(lists.crls, (issuer) => crlRuleOf(value.policy, issuer))
  return { value: { ...value, crls: lists.crls, revocation }, warnings: [...warnings, ...lists.warnings] }
}

/** Reads a replacement. A set whose CAs have all expired would lock out every client, so it is rejected. */
export async function readLiveClientTrust(
  files: ClientTrustFiles,
  now: number,
  former: ClientTrust,
): Promise<WithWarnings<ClientTrust>> {
  const read = await readClientTrust(files, now, former)
  if (read.value.trust.anchors.every(({ notAfter }) => notAfter <= now))
    throw new UsageError(`${files.ca.flag}: every CA in ${files.ca.path} has expired.`)
  return read
}

/** The files and folders that the set was read from. */
export function pathsOfClientTrust(files: ClientTrustFiles, { policy }: ClientTrust): string[] {
  const given = [files.ca, files.policy, files.crl].flatMap((file) => (file ? [file.path] : []))
  return [...given, ...policy.cas.map(({ file }) => file)]
}

function warningsOf(
  files: Pick<ClientTrustFiles, 'ca' | 'policy'>,
  trust: TrustBundle,
  policy: Policy,
  now: number,
): string[] {
  const warnings: string[] = []
  for (const { subject, notAfter } of trust.anchors) {
    if (notAfter <= now)
      warnings.push(`${files.ca.flag}: the CA ${subject.text} has expired: certificates of it are rejected.`)
  }
  if (policy.allow.length === 0) {
    warnings.push(
      `Any certificate of the client CA may act as SuperNode and as CLI: a node could submit code to all nodes. Narrow it with ${files.policy === undefined ? '--ssl-client-policy' : '[[allow]] entries in the file of --ssl-client-policy'}.`,
    )
  }
  if (namesOrganizations(policy)) {
    const limited = policy.cas.filter(({ organizations }) => organizations !== undefined)
    for (const anchor of trust.anchors) {
      if (!limited.some(({ cas }) => cas.has(caKey(anchor))))
        warnings.push(
          `--ssl-client-policy: the CA ${anchor.subject.text} may vouch for every organisation: limit it with organizations in a [[ca]] entry.`,
        )
    }
  }
  const known = new Set(casOf(trust).map(caKey))
  for (const { cas, file } of policy.cas) {
    if (cas.isDisjointFrom(known))
      warnings.push(
        `--ssl-client-policy: no CA of ${file} is among the client CAs: its rule limits only chains over it.`,
      )
  }
  return warnings
}
