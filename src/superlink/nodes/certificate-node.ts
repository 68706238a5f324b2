import type { AfterCommit, Db } from '../../db/database.ts'
import type { CertificatePeer } from '../../identity/caller.ts'
import type { SuperlinkContext } from '../context.ts'
import { findByIdentityAndKey, findByKey, findOldestByIdentity } from './find-nodes.ts'
import { type Node, type NodeCredential, newNode } from './node.ts'
import { recordRegistered } from './node-events.ts'
import * as nodeStore from './node-store.ts'

/** Nodes that are known by the identity in their certificate. A renewed certificate is the same node. */

type Ctx = Pick<SuperlinkContext, 'db' | 'clock' | 'log' | 'knownNodes' | 'events'>

/** Returns the node of an identity: a known one, one known so far by the key that the caller proves too, or a new one. */
export async function ensureCertificateNode(
  ctx: Ctx,
  tx: Db,
  afterCommit: AfterCommit,
  { peer, provenKey }: Extract<NodeCredential, { kind: 'certificate' }>,
  publicKey: string,
): Promise<Node> {
  // Nodes that share an identity are told apart by their keys; there may be thousands.
  const known =
    peer.identitySharing === 'allow'
      ? await findByIdentityAndKey(tx, peer, publicKey)
      : await findOldestByIdentity(tx, peer)
  if (known) {
    if (isNewer(known, peer)) await recordRenewal(ctx, tx, afterCommit, known, peer)
    const shown = {
      publicKey,
      organization: peer.organization,
      certificateSerial: peer.serial,
      certificateNotAfter: peer.notAfter,
    }
    // A SuperNode that joins comes twice, with the same certificate and key.
    if (!isShown(known, shown)) await ctx.knownNodes.update(tx, afterCommit, known.nodeId, shown)
    return known
  }
  const byKey = provenKey === undefined ? undefined : await findByKey(tx, provenKey)
  if (byKey && byKey.status !== 'unregistered') return moveToCertificate(ctx, tx, afterCommit, byKey, peer)
  const node: Node = {
    ...newNode({ id: peer.identity, name: peer.identity }, ctx.clock.now()),
    publicKey,
    identity: peer.identity,
    organization: peer.organization,
    authMethod: 'certificate',
    certificateSerial: peer.serial,
    certificateNotAfter: peer.notAfter,
  }
  await nodeStore.insert(tx, node)
  await recordRegistered(ctx, tx, afterCommit, node)
  return node
}

/**
 * The node shows a newer certificate of its identity, which operators see, or the policy does not accept its own tags any
 * more.
 */
export async function noteRenewal(ctx: Ctx, node: Node, peer: CertificatePeer): Promise<void> {
  if (!findChange(node, peer)) return
  await ctx.db.transaction(async (tx, afterCommit) => {
    // Look again in the transaction: calls that come together have the same news.
    const now = await nodeStore.find(tx, node.nodeId)
    const change = now && findChange(now, peer)
    if (!change) return
    await ctx.knownNodes.update(tx, afterCommit, node.nodeId, change)
    if (change.certificateSerial === undefined) return
    await recordRenewal(ctx, tx, afterCommit, now, peer)
    const shown = { node: node.nodeId, identity: peer.identity, serial: peer.serial }
    afterCommit(() => ctx.log.info('A SuperNode shows a new certificate', shown))
  })
}

function isShown(node: Node, shown: Partial<Node>): boolean {
  return Object.entries(shown).every(([name, value]) => node[name as keyof Node] === value)
}

/** While a node moves from one connection to the next, both certificates come in. */
function isNewer(node: Node, peer: CertificatePeer): boolean {
  return node.certificateSerial !== peer.serial && peer.notAfter >= (node.certificateNotAfter ?? 0)
}

function recordRenewal(
  { events }: Pick<Ctx, 'events'>,
  tx: Db,
  afterCommit: AfterCommit,
  node: Node,
  { identity, organization, serial, notAfter }: CertificatePeer,
): Promise<void> {
  const expires = new Date(notAfter).toISOString()
  return events.record(tx, afterCommit, 'certificate.renewed', {
    sentence: `SuperNode ${node.name ?? identity} has a new certificate, until ${expires}.`,
    ...{ kind: 'node', subject: identity, serial, expires, node: String(node.nodeId) },
    ...(organization === '' ? {} : { organization }),
  })
}

/** Returns what changes of a node that shows this certificate; `undefined` if nothing does. */
function findChange(node: Node, peer: CertificatePeer): nodeStore.NodeChange | undefined {
  const isNew = isNewer(node, peer)
  const losesOwnTags = peer.allowsOwnTags === false && Object.keys(node.tags.own).length > 0
  if (!isNew && !losesOwnTags) return undefined
  const kept = losesOwnTags ? {} : node.tags.own
  if (!isNew) return { tags: { ...node.tags, own: kept } }
  return {
    organization: peer.organization,
    certificateSerial: peer.serial,
    certificateNotAfter: peer.notAfter,
    tags: { own: kept, certificate: peer.tags ?? {} },
  }
}

/** From now on the node is its identity, and its key alone does not speak for it any more. */
async function moveToCertificate(
  ctx: Pick<Ctx, 'log' | 'knownNodes'>,
  tx: Db,
  afterCommit: AfterCommit,
  node: Node,
  peer: CertificatePeer,
): Promise<Node> {
  const shown = {
    identity: peer.identity,
    organization: peer.organization,
    authMethod: 'certificate',
    certificateSerial: peer.serial,
    certificateNotAfter: peer.notAfter,
  } as const
  await ctx.knownNodes.update(tx, afterCommit, node.nodeId, shown)
  ctx.log.info('A SuperNode has moved from its key to a certificate', { node: node.nodeId, identity: peer.identity })
  return { ...node, ...shown }
}
