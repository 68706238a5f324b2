import { dirname, resolve } from 'node:path'
import { errorText, UsageError } from '../base/errors.ts'
import { parseToml } from '../base/toml.ts'
import { type Role, type RunScope, roles as roleNames, runScopes } from './caller.ts'
import type { Certificate } from './certificate.ts'
import type { CrlRule } from './revocation/crls.ts'
import { type FileFlag, readCertificates, readTextFile } from './tls-files.ts'

/** The permissions: how identities are read from certificates, and which roles they get. */
export interface Policy {
  /** `auto`: the one spiffe:// URI, else the common name, else the one DNS name. */
  readonly source: IdentitySource
  readonly sharing: 'refuse' | 'allow'
  /** Whether the tags that a SuperNode gives itself count, or those of its certificate alone. */
  readonly nodeTags: 'any' | 'certificate'
  /** Empty: every certificate of the client CA may do everything. */
  readonly allow: readonly AllowRule[]
  readonly cas: readonly CaRule[]
}

export type IdentitySource = 'auto' | 'uri' | 'dns' | 'email' | 'cn' | 'subject'

/** A peer that fits all given patterns gets the roles. `*` stands for any text. */
export interface AllowRule {
  readonly identity: string | undefined
  readonly organization: string | undefined
  readonly roles: readonly Role[]
  /** Which runs a `cli` sees, follows and stops. */
  readonly runs: RunScope
}

/** What a CA may vouch for. */
export interface CaRule {
  /** Name and key of the CA: renewed or cross-signed, its certificate is another, but it is the same CA. */
  readonly cas: ReadonlySet<string>
  readonly file: string
  /** Absent: any. */
  readonly organizations: readonly string[] | undefined
  readonly crl: CrlRule
}

export const defaultPolicy: Policy = { source: 'auto', sharing: 'refuse', nodeTags: 'any', allow: [], cas: [] }

/** The roles of an identity under the policy. */
export function rolesOf(policy: Policy, identity: string, organization: string): ReadonlySet<Role> {
  if (policy.allow.length === 0) return new Set(['supernode', 'cli'])
  const rules = policy.allow.filter((rule) => fitsRule(rule, identity, organization))
  const granted = new Set(rules.flatMap((rule) => rule.roles))
  return granted.has('admin') ? granted.add('cli') : granted
}

/** The widest range of runs that an entry for the identity grants. */
export function runsOf(policy: Policy, identity: string, organization: string): RunScope {
  if (rolesOf(policy, identity, organization).has('admin')) return 'all'
  const rules = policy.allow.filter((rule) => fitsRule(rule, identity, organization))
  return runScopes.findLast((scope) => rules.some(({ runs }) => runs === scope)) ?? 'own'
}

/**
 * Whether the organisation is part of an identity. If CAs are limited to organisations, a CA could otherwise take the name
 * of a node or account of another organisation.
 */
export function namesOrganizations({ cas }: Pick<Policy, 'cas'>): boolean {
  return cas.some(({ organizations }) => organizations !== undefined)
}

function fitsRule(rule: AllowRule, identity: string, organization: string): boolean {
  return fits(rule.identity, identity) && fits(rule.organization, organization)
}

/** Whether the CA may vouch for the organisation. */
export function allowsOrganization(policy: Policy, issuer: Certificate, organization: string): boolean {
  return caRulesOf(policy, issuer).every((rule) => rule.organizations?.includes(organization) ?? true)
}

/** What holds while no usable revocation list of the CA is there: of several rules the strictest. */
export function crlRuleOf(policy: Policy, issuer: Certificate): CrlRule {
  const rules = caRulesOf(policy, issuer).map(({ crl }) => crl)
  const said = rules.map(({ unavailable }) => unavailable).filter((one) => one !== undefined)
  return {
    unavailable: said.includes('deny') ? 'deny' : said[0],
    graceMs: rules.length === 0 ? 0 : Math.min(...rules.map(({ graceMs }) => graceMs)),
  }
}

function caRulesOf({ cas }: Policy, issuer: Certificate): readonly CaRule[] {
  // Without rules the key is not needed, and writing it out costs more than the rest.
  if (cas.length === 0) return cas
  const key = caKey(issuer)
  return cas.filter((rule) => rule.cas.has(key))
}

/** Identifies a CA over all its certificates. */
export function caKey({ subjectDer, x509 }: Certificate): string {
  return `${subjectDer} ${x509.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')}`
}

/** Matches without regular expressions: patterns come from operators, names from untrusted peers, and both may be long. */
function fits(pattern: string | undefined, text: string): boolean {
  if (pattern === undefined) return true
  const [first = '', ...rest] = pattern.split('*')
  if (rest.length === 0) return pattern === text
  if (!text.startsWith(first)) return false
  const last = rest.pop() as string
  let position = first.length
  for (const part of rest) {
    const found = text.indexOf(part, position)
    if (found < 0) return false
    position = found + part.length
  }
  return text.length - last.length >= position && text.endsWith(last)
}

const sources: readonly string[] = ['auto', 'uri', 'dns', 'email', 'cn', 'subject']

/** Reads a policy file. Throws a UsageError that names file, key and what is expected there. */
export function readPolicy(file: FileFlag): Policy {
  const fail = (what: string): UsageError => new UsageError(`${file.flag}: ${file.path}: ${what}.`)
  let toml: Record<string, unknown>
  try {
    toml = parseToml(readTextFile(file))
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw fail(`not valid TOML (${errorText(error)})`)
  }
  ensureKeys(toml, ['identity', 'allow', 'ca'], 'the file', fail)
  const identity = tableOf(toml.identity, '[identity]', fail)
  ensureKeys(identity, ['source', 'identity-sharing', 'node-tags'], '[identity]', fail)
  const source = identity.source ?? 'auto'
  if (typeof source !== 'string' || !sources.includes(source))
    throw fail(`identity.source must be one of ${sources.join(', ')}`)
  const sharing = identity['identity-sharing'] ?? 'refuse'
  if (sharing !== 'refuse' && sharing !== 'allow') throw fail('identity.identity-sharing must be "refuse" or "allow"')
  const nodeTags = identity['node-tags'] ?? 'any'
  if (nodeTags !== 'any' && nodeTags !== 'certificate') throw fail('identity.node-tags must be "any" or "certificate"')
  const allow = tablesOf(toml.allow, '[[allow]]', fail).map((rule) => readAllow(rule, fail))
  const cas = tablesOf(toml.ca, '[[ca]]', fail).map((rule) => readCaRule(rule, file, fail))
  if (namesOrganizations({ cas }) && allow.some((rule) => rule.runs === 'all' && rule.organization === undefined))
    throw fail(
      'an [[allow]] entry with the role "admin" or runs = "all" needs organization if [[ca]] entries have organizations: any of these CAs could issue its identity',
    )
  return { source: source as IdentitySource, sharing, nodeTags, allow, cas }
}

type Fail = (what: string) => UsageError

function readAllow(rule: Record<string, unknown>, fail: Fail): AllowRule {
  ensureKeys(rule, ['identity', 'organization', 'roles', 'runs'], '[[allow]]', fail)
  const { identity, organization, roles, runs = 'own' } = rule
  for (const [key, value] of Object.entries({ identity, organization })) {
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw fail(`${key} of [[allow]] must be a text`)
  }
  if (identity === undefined && organization === undefined)
    throw fail('[[allow]] needs identity or organization (identity = "*" means all)')
  const valid = Array.isArray(roles) && roles.length > 0 && roles.every((role) => roleNames.includes(role))
  if (!valid) throw fail('roles of [[allow]] must be a list of "supernode", "cli" and "admin"')
  if (!isRunScope(runs)) throw fail('runs of [[allow]] must be "own", "organization" or "all"')
  if (rule.runs !== undefined && !roles.includes('cli')) throw fail('runs of [[allow]] needs the role "cli"')
  return {
    identity: identity as string | undefined,
    organization: organization as string | undefined,
    roles: roles as Role[],
    runs: roles.includes('admin') ? 'all' : runs,
  }
}

function isRunScope(value: unknown): value is RunScope {
  return (runScopes as readonly unknown[]).includes(value)
}

function readCaRule(rule: Record<string, unknown>, policyFile: FileFlag, fail: Fail): CaRule {
  ensureKeys(rule, ['file', 'organizations', 'crl-unavailable', 'crl-grace'], '[[ca]]', fail)
  if (typeof rule.file !== 'string') throw fail('[[ca]] needs file, the PEM file of the CA')
  const path = resolve(dirname(policyFile.path), rule.file)
  const cas = readCertificates({ flag: `${policyFile.flag}: [[ca]] file`, path }).filter(({ isCa }) => isCa)
  if (cas.length === 0) throw fail(`[[ca]] file ${path} holds no CA certificate`)
  const { organizations } = rule
  if (organizations !== undefined && !isTexts(organizations))
    throw fail('organizations of [[ca]] must be a list of texts')
  const crl = readCrlRule(rule, fail)
  if (organizations === undefined && crl.unavailable === undefined && crl.graceMs === 0)
    throw fail('[[ca]] needs organizations, crl-unavailable or crl-grace')
  return { cas: new Set(cas.map(caKey)), file: path, organizations, crl }
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string')

function readCrlRule(rule: Record<string, unknown>, fail: Fail): CrlRule {
  const { 'crl-unavailable': unavailable, 'crl-grace': grace = '0s' } = rule
  if (unavailable !== undefined && unavailable !== 'allow' && unavailable !== 'deny')
    throw fail('crl-unavailable of [[ca]] must be "allow" or "deny"')
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(String(grace)) ?? []
  if (count === undefined) throw fail('crl-grace of [[ca]] must be a duration such as "24h" (units s, m, h, d)')
  return { unavailable, graceMs: Number(count) * ({ s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit] ?? 0) }
}

function tableOf(value: unknown, what: string, fail: Fail): Record<string, unknown> {
  if (value === undefined) return {}
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw fail(`${what} must be a table`)
}

function tablesOf(value: unknown, what: string, fail: Fail): Record<string, unknown>[] {
  if (value === undefined) return []
  if (Array.isArray(value)) return value.map((one) => tableOf(one, what, fail))
  throw fail(`${what} must be written with double brackets`)
}

/** A misspelt key would silently grant or refuse: it is an error. */
function ensureKeys(found: Record<string, unknown>, known: readonly string[], where: string, fail: Fail): void {
  const strange = Object.keys(found).find((key) => !known.includes(key))
  if (strange !== undefined) throw fail(`unknown key '${strange}' in ${where} (known: ${known.join(', ')})`)
}
