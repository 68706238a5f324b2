import { DomainError } from '../../base/errors.ts'
import type { RunId } from '../../base/ids.ts'
import type { Db } from '../../db/database.ts'
import type { CertificatePeer, RunScope } from '../../identity/caller.ts'
import { refusalSentence } from '../../identity/refusal-sentence.ts'
import type { EventScope } from '../events/event-store.ts'
import { type Node, noAccount } from '../nodes/node.ts'
import { findRun, type Run } from '../runs/run.ts'
import type { RunOwners } from '../runs/run-store.ts'

/** Decides what an account sees and changes. Without certificates there is one account, to which everything belongs. */

/** The caller of the Control API. Under mutual TLS the identity in the certificate is the account. */
export interface Account {
  readonly id: string
  readonly name: string
  /** Empty unless a certificate names one. */
  readonly organization: string
  readonly certificate: CertificatePeer | undefined
}

export function accountOf(certificate: CertificatePeer | undefined): Account {
  return certificate
    ? { id: certificate.identity, name: certificate.identity, organization: certificate.organization, certificate }
    : { ...noAccount, organization: '', certificate: undefined }
}

/** Which runs the account sees. */
export function runOwnersOf({ id, organization, certificate }: Account): RunOwners {
  const scope: RunScope = certificate?.runs ?? 'own'
  if (scope === 'all') return 'all'
  const owner = { ownerAid: id, organization: certificate?.identityOrganization }
  return scope === 'organization' && organization !== '' ? { owner, colleaguesIn: organization } : { owner }
}

/** Which events the account sees: those of the runs that it sees; admins see also those that are about no run. */
export function eventScopeOf(account: Account): EventScope {
  return isAdmin(account) ? 'everything' : runOwnersOf(account)
}

function sees(account: Account, run: Pick<Run, 'ownerAid' | 'ownerOrganization'>): boolean {
  const owners = runOwnersOf(account)
  if (owners === 'all') return true
  const { owner, colleaguesIn } = owners
  const isOwn =
    run.ownerAid === owner.ownerAid && (owner.organization ?? run.ownerOrganization) === run.ownerOrganization
  return isOwn || (colleaguesIn !== undefined && run.ownerOrganization === colleaguesIn)
}

/**
 * The run, if the account may see and stop it. Throws `run-of-another-account` for the run of a colleague in the same
 * organisation, with the remedy, and `run-not-found` for all others: they do not learn that there is such a run.
 */
export async function getRunOf(db: Db, account: Account, runId: RunId): Promise<Run> {
  const run = await findRun(db, runId)
  if (!run) throw new DomainError('run-not-found')
  ensureSees(account, run)
  return run
}

/** Throws as `getRunOf` unless the account may see the run. */
export function ensureSees(account: Account, run: Pick<Run, 'runId' | 'ownerAid' | 'ownerOrganization'>): void {
  if (sees(account, run)) return
  const isColleague = account.organization !== '' && account.organization === run.ownerOrganization
  const about = `run ${run.runId}, account ${account.name}`
  throw isColleague
    ? new DomainError('run-of-another-account', refusalSentence('run-of-another-account', about))
    : new DomainError('run-not-found', undefined, { auditedAs: 'run-of-another-account' })
}

/** Without certificates every account is one. */
export function isAdmin({ certificate }: Account): boolean {
  return certificate === undefined || certificate.roles.has('admin')
}

/** Throws `admin-required` for an account with a certificate that is no admin. */
export function ensureAdmin(account: Account): void {
  if (!isAdmin(account))
    throw new DomainError('admin-required', refusalSentence('admin-required', account.certificate?.identity))
}

/** Throws unless the account registered the node, or is its certificate's, or is an admin. */
export function ensureMayUnregister(account: Account, node: Node | undefined): asserts node is Node {
  if (!node) throw new DomainError('node-not-owned')
  const { certificate } = account
  const inOrganization = certificate?.identityOrganization === undefined || node.organization === account.organization
  if (node.ownerAid === account.id && inOrganization) return
  // Accounts without a certificate do not see the nodes of others; those with one see all of them.
  if (!certificate) throw new DomainError('node-not-owned')
  ensureAdmin(account)
}
