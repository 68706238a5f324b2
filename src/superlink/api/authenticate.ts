import { DomainError } from '../../base/errors.ts'
import type { NodeId } from '../../base/ids.ts'
import type { CertificatePeer, Role } from '../../identity/caller.ts'
import { verifyNodeCall } from '../../identity/node-key.ts'
import { refusalSentence } from '../../identity/refusal-sentence.ts'
import type { CallHead } from '../../rpc/call.ts'
import { type CallerKinds, callerKind } from '../../rpc/service.ts'
import { type Account, accountOf, ensureSees } from '../access/accounts.ts'
import type { SuperlinkContext } from '../context.ts'
import { ensureMayJoin, ensureNotBlocked } from '../nodes/admission.ts'
import { noteRenewal } from '../nodes/certificate-node.ts'
import { processOf, releaseOf, type Speaker } from '../nodes/live-nodes.ts'
import { type NodeCredential, provenKeyOf } from '../nodes/node.ts'
import { findCredentialNode } from '../nodes/nodes.ts'
import type { Run } from '../runs/run.ts'

/** A SuperNode that is about to become a node of the SuperLink. */
export interface JoiningNode {
  readonly credential: NodeCredential
  readonly speaker: Speaker
}

export interface FleetNode extends JoiningNode {
  readonly nodeId: NodeId
}

export interface FleetCallers {
  readonly 'joining-node': JoiningNode
  readonly node: FleetNode
}

export interface ControlCallers {
  readonly account: Account
}

/**
 * SuperNodes prove themselves by certificate, or by the signature of their key if certificates are not required. Where the
 * operator allows it, they need not prove anything.
 */
export function fleetCallers(ctx: SuperlinkContext): CallerKinds<FleetCallers> {
  const identify = (head: CallHead): Promise<JoiningNode> => identifyNode(ctx, head)
  return {
    'joining-node': callerKind(identify, async (_call, node, request: unknown) => {
      const claimedKey = Buffer.from((request as { publicKey: Uint8Array }).publicKey).toString('latin1')
      const proven = provenKeyOf(node.credential)
      if (proven !== undefined && claimedKey !== proven) throw new DomainError('node-id-invalid')
      await ensureMayJoin(ctx.db.read, node.credential, claimedKey)
      return node
    }),
    node: callerKind(identify, (_call, node, request) => findNode(ctx, node, claimedId(request))),
  }
}

async function identifyNode(ctx: SuperlinkContext, head: CallHead): Promise<JoiningNode> {
  const certificate = requireRole(ctx, head, 'supernode')
  const credential = await readCredential(ctx, head, certificate)
  const renewalFails = head.header('trellis-renewal')[0] === 'failing'
  const release = releaseOf((name) => head.header(name))
  const process = processOf(head.header('trellis-process'))
  const speaker = { connection: head.connection, process, renewalFails, release }
  return { credential, speaker }
}

async function readCredential(
  ctx: SuperlinkContext,
  head: CallHead,
  certificate: CertificatePeer | undefined,
): Promise<NodeCredential> {
  const signs = head.binaryHeader('flwr-public-key').length > 0
  if (!certificate && !signs && ctx.unprovenNodes) return { kind: 'none' }
  if (!certificate) return { kind: 'key', publicKey: await verifyKeyHeaders(ctx, head) }
  // A node that has a certificate and was given a key proves both.
  return { kind: 'certificate', peer: certificate, provenKey: signs ? await verifyKeyHeaders(ctx, head) : undefined }
}

/** A certificate may stand for more than one node: the request names the node that it speaks for. */
function claimedId(request: unknown): NodeId {
  const { node, nodeId } = request as { node?: { nodeId: bigint } | undefined; nodeId?: bigint }
  return (node?.nodeId ?? nodeId ?? 0n) as NodeId
}

async function findNode(
  ctx: SuperlinkContext,
  { credential, speaker }: JoiningNode,
  claimed: NodeId,
): Promise<FleetNode> {
  const node = await findCredentialNode(ctx, credential, claimed)
  if (!node || node.status === 'unregistered' || node.nodeId !== claimed) {
    throw credential.kind === 'certificate'
      ? new DomainError(
          'node-of-another-identity',
          refusalSentence('node-of-another-identity', credential.peer.identity),
        )
      : new DomainError('node-id-invalid')
  }
  ensureNotBlocked(node)
  if (credential.kind === 'certificate' && ctx.liveNodes.isAnotherProcess(node.nodeId, speaker))
    throw new DomainError('identity-in-use', refusalSentence('identity-in-use', credential.peer.identity))
  ctx.liveNodes.note(node.nodeId, speaker)
  if (credential.kind === 'certificate') await noteRenewal(ctx, node, credential.peer)
  return { credential, nodeId: node.nodeId, speaker }
}

/** Identifies an account by certificate if certificates are required; otherwise there is only one account. */
export function controlCallers(ctx: SuperlinkContext): CallerKinds<ControlCallers> {
  return {
    account: callerKind(async (head) => accountOfCall(ctx, head)),
  }
}

/**
 * Throws unless the account of a call that is still open may see the run: its certificate may have been judged again since
 * the call began.
 */
export function ensureStillSees(ctx: SuperlinkContext, call: CallHead, run: Run): void {
  ensureSees(accountOfCall(ctx, call), run)
}

/** The account of a call that is still open, by what is known of its certificate now. Throws if it has none any more. */
export function accountOfCall(ctx: SuperlinkContext, call: CallHead): Account {
  return accountOf(requireRole(ctx, call, 'cli'))
}

function requireRole(ctx: SuperlinkContext, head: CallHead, role: Role): CertificatePeer | undefined {
  const { peer } = head.connection
  if (peer.kind === 'refused') throw new DomainError('certificate-refused', peer.sentence)
  if (peer.kind === 'anonymous') {
    if (ctx.requireCertificates) throw new DomainError('no-certificate', refusalSentence('no-certificate'))
    return undefined
  }
  if (!peer.roles.has(role))
    throw new DomainError('role-not-granted', refusalSentence('role-not-granted', `${peer.identity} as ${role}`))
  return peer
}

async function verifyKeyHeaders(ctx: Pick<SuperlinkContext, 'clock'>, head: CallHead): Promise<string> {
  const keys = head.binaryHeader('flwr-public-key')
  const signatures = head.binaryHeader('flwr-signature')
  const timestamps = head.header('flwr-timestamp')
  const [publicKeyPem, signature, timestamp] = [keys[0], signatures[0], timestamps[0]]
  const single = keys.length === 1 && signatures.length === 1 && timestamps.length === 1
  if (!single || !publicKeyPem?.length || !signature?.length || !timestamp)
    throw new DomainError('node-authentication-missing')
  await verifyNodeCall({ publicKeyPem, signature, timestamp }, ctx.clock.now())
  return Buffer.from(publicKeyPem).toString('latin1')
}
