import { DomainError } from '../../base/errors.ts'
import type { NodeId } from '../../base/ids.ts'
import type { CertificatePeer, Role } from '../../identity/caller.ts'
import { verifyNodeCall } from '../../identity/node-key.ts'
import { refusalSentence } from '../../identity/refusal-sentence.ts'
import type { Call } from '../../rpc/call.ts'
import type { SuperlinkContext } from '../context.ts'
import { noteRenewal } from '../nodes/certificate-node.ts'
import { processOf, type Speaker } from '../nodes/live-nodes.ts'
import { type NodeCredential, noAccount } from '../nodes/node.ts'
import { findCredentialNode } from '../nodes/nodes.ts'
import type { FleetMethod } from './access.ts'

/** Who calls the Fleet API: a node, or one that is about to become one. */
export interface FleetCaller {
  readonly credential: NodeCredential
  /** The node of the credential; 0 while it registers or activates. */
  readonly nodeId: NodeId
  readonly speaker: Speaker
}

/** Who calls the Control API. Under mutual TLS the identity in the certificate is the account. */
export interface AccountCaller {
  readonly id: string
  readonly name: string
  /** Empty unless a certificate names one. */
  readonly organization: string
  readonly certificate: CertificatePeer | undefined
}

/** Lets a SuperNode in by its certificate, or by the signature of its key where certificates are not required. */
export async function authenticateFleet(
  ctx: SuperlinkContext,
  call: Call,
  access: FleetMethod,
  request: { node?: { nodeId: bigint } | undefined; nodeId?: bigint; publicKey?: Uint8Array },
): Promise<FleetCaller> {
  const certificate = requireRole(ctx, call, 'supernode')
  // A node that has a certificate and was given a key proves both.
  const signs = !certificate || call.binaryHeader('flwr-public-key').length > 0
  const provenKey = signs ? await verifyKeyHeaders(ctx, call) : undefined
  const credential: NodeCredential = certificate
    ? { kind: 'certificate', peer: certificate, provenKey }
    : { kind: 'key', publicKey: provenKey as string }
  const renewalFails = call.header('trellis-renewal')[0] === 'failing'
  const speaker = { connection: call.connection, process: processOf(call.header('trellis-process')), renewalFails }
  if (access === 'joining-node') {
    const key = Buffer.from(request.publicKey ?? []).toString('latin1')
    if (provenKey !== undefined && key !== provenKey) throw new DomainError('node-id-invalid')
    return { credential, nodeId: 0n as NodeId, speaker }
  }
  const claimed = (request.node?.nodeId ?? request.nodeId ?? 0n) as NodeId
  const node = await findCredentialNode(ctx, credential, claimed)
  if (!node || node.status === 'unregistered' || node.nodeId !== claimed) {
    throw credential.kind === 'key'
      ? new DomainError('node-id-invalid')
      : new DomainError(
          'node-of-another-identity',
          refusalSentence('node-of-another-identity', credential.peer.identity),
        )
  }
  if (credential.kind === 'certificate' && ctx.liveNodes.isAnotherProcess(node.nodeId, speaker))
    throw new DomainError('identity-in-use', refusalSentence('identity-in-use', credential.peer.identity))
  ctx.liveNodes.note(node.nodeId, speaker)
  if (credential.kind === 'certificate') await noteRenewal(ctx, node, credential.peer)
  return { credential, nodeId: node.nodeId, speaker }
}

/** Lets a person or a pipeline in: by certificate where those are asked for, else as the one account there is. */
export async function authenticateControl(ctx: SuperlinkContext, call: Call): Promise<AccountCaller> {
  const certificate = requireRole(ctx, call, 'cli')
  return certificate
    ? { id: certificate.identity, name: certificate.identity, organization: certificate.organization, certificate }
    : { ...noAccount, organization: '', certificate: undefined }
}

function requireRole(ctx: SuperlinkContext, call: Call, role: Role): CertificatePeer | undefined {
  const { peer } = call.connection
  if (peer.kind === 'refused') throw new DomainError('certificate-refused', peer.sentence)
  if (peer.kind === 'anonymous') {
    if (ctx.requireCertificates) throw new DomainError('no-certificate', refusalSentence('no-certificate'))
    return undefined
  }
  if (!peer.roles.has(role))
    throw new DomainError('role-not-granted', refusalSentence('role-not-granted', `${peer.identity} as ${role}`))
  return peer
}

async function verifyKeyHeaders(ctx: Pick<SuperlinkContext, 'clock'>, call: Call): Promise<string> {
  const keys = call.binaryHeader('flwr-public-key')
  const signatures = call.binaryHeader('flwr-signature')
  const timestamps = call.header('flwr-timestamp')
  const [publicKeyPem, signature, timestamp] = [keys[0], signatures[0], timestamps[0]]
  const single = keys.length === 1 && signatures.length === 1 && timestamps.length === 1
  if (!single || !publicKeyPem?.length || !signature?.length || !timestamp)
    throw new DomainError('node-authentication-missing')
  await verifyNodeCall({ publicKeyPem, signature, timestamp }, ctx.clock.now())
  return Buffer.from(publicKeyPem).toString('latin1')
}
