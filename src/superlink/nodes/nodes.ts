import { DomainError } from '../../base/errors.ts'
import { isStorageFull } from '../../base/full-disk.ts'
import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { areTags, type NodeTags, type TagsBySource } from '../../base/node-tags.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { refusalSentence } from '../../identity/refusal-sentence.ts'
import type { SuperlinkContext } from '../context.ts'
import { redeliver } from '../delivery/instructions.ts'
import { failConfirmed, forgetIncomplete } from '../delivery/replies.ts'
import { ensureCertificateNode } from './certificate-node.ts'
import { findByKey } from './find-nodes.ts'
import type { Speaker } from './live-nodes.ts'
import { heartbeatIntervalMs, heartbeatPatience, type Node, type NodeCredential, newNode, noAccount } from './node.ts'
import { recordOffline, recordOnline, recordRegistered, recordUnregistered } from './node-events.ts'
import { ensureLabel, type NodeLabel } from './node-label.ts'
import * as nodeStore from './node-store.ts'

/**
 * The life of nodes: `registered` → `online` ⇄ `offline`, and `unregistered` for good. A node known by a key is that key;
 * a node known by a certificate is the identity in it, whatever key it carries. A node that has proved neither is known by
 * its id, and no proof of its key changes that.
 */

type Ctx = SuperlinkContext

/** A SuperNode introduces itself. A certificate needs no registration: its node is found or made. */
export async function registerNode(ctx: Ctx, credential: NodeCredential, publicKey: string): Promise<NodeId> {
  if (credential.kind === 'key' && ctx.supernodeAuth) throw new DomainError('nodes-register-by-cli')
  return ctx.db.transaction(async (tx, afterCommit) => {
    if (credential.kind === 'certificate')
      return (await ensureCertificateNode(ctx, tx, afterCommit, credential, publicKey)).nodeId
    return (await insertKeyNode(ctx, tx, afterCommit, publicKey, noAccount, { authMethod: credential.kind })).nodeId
  })
}

/** An operator registers a key by hand (`flwr supernode register`), perhaps with a place and a name for people. */
export async function registerKey(
  ctx: Ctx,
  publicKey: string,
  owner: { id: string; name: string },
  label: NodeLabel = {},
): Promise<NodeId> {
  ensureLabel(label)
  return ctx.db.transaction(async (tx, afterCommit) => {
    const intervalMs = heartbeatIntervalMs.registeredByCli
    return (await insertKeyNode(ctx, tx, afterCommit, publicKey, owner, { ...label, heartbeatIntervalMs: intervalMs }))
      .nodeId
  })
}

export async function activateNode(
  ctx: Ctx,
  credential: NodeCredential,
  fields: { publicKey: string; heartbeatIntervalMs: number; speaker: Speaker; tags?: NodeTags },
): Promise<NodeId> {
  return ctx.db.transaction(async (tx, afterCommit) => {
    const node =
      credential.kind === 'certificate'
        ? await ensureCertificateNode(ctx, tx, afterCommit, credential, fields.publicKey)
        : await findKeyNode(tx, credential, fields.publicKey)
    if (!node || node.status === 'unregistered') throw new DomainError('node-not-registered')
    ensureHeartbeatInterval(fields.heartbeatIntervalMs)
    const isOnline = node.status === 'online' && ctx.knownNodes.onlineUntil(node) > ctx.room.leaseNow()
    if (isOnline && ctx.liveNodes.isTaken(node.nodeId, fields.speaker)) {
      throw credential.kind === 'certificate'
        ? new DomainError('identity-in-use', refusalSentence('identity-in-use', credential.peer.identity))
        : new DomainError('node-not-activated', `SuperNode with node ID ${node.nodeId} could not be activated.`)
    }
    // Within the transaction: of two that come at once, the second finds the first.
    ctx.liveNodes.note(node.nodeId, fields.speaker)
    const tags = tagsFor(credential, fields.tags ?? {})
    await bringOnline(ctx, tx, afterCommit, node, { intervalMs: fields.heartbeatIntervalMs, tags })
    await forgetIncomplete(ctx, tx, afterCommit, node.nodeId)
    await redeliver(ctx, tx, afterCommit, node.nodeId)
    await failConfirmed(ctx, tx, afterCommit, node.nodeId)
    return node.nodeId
  })
}

/**
 * A beat keeps an online node online and revives an offline one. Returns whether the node exists. While the disk is full no
 * node goes silent, so beats need not be stored.
 */
export async function heartbeat(ctx: Ctx, nodeId: NodeId, intervalMs: number): Promise<boolean> {
  ensureHeartbeatInterval(intervalMs)
  if (ctx.knownNodes.beat(nodeId, intervalMs, ctx.clock.now())) return true
  const isGone = (node: Node | undefined): boolean => !node || node.status === 'unregistered'
  try {
    return await ctx.db.transaction(async (tx, afterCommit) => {
      const node = await nodeStore.find(tx, nodeId)
      if (!node || isGone(node)) return false
      await bringOnline(ctx, tx, afterCommit, node, { intervalMs })
      return true
    })
  } catch (error) {
    if (!isStorageFull(error)) throw error
    return !isGone(await nodeStore.find(ctx.db.read, nodeId))
  }
}

/** After a time in which no heartbeat could be stored, or before a start: every node that was online gets a whole period to beat again. */
export async function prolongOnline(ctx: Pick<Ctx, 'db' | 'clock' | 'bells' | 'knownNodes'>): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    const now = ctx.clock.now()
    for (const { nodeId, heartbeatIntervalMs: intervalMs } of await nodeStore.listOnline(tx))
      await ctx.knownNodes.update(tx, afterCommit, nodeId, { onlineUntil: now + heartbeatPatience * intervalMs })
    afterCommit(() => ctx.bells.deadlines.ring('deadlines'))
  })
}

export async function deactivateNode(ctx: Ctx, nodeId: NodeId): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    const node = await nodeStore.find(tx, nodeId)
    const now = ctx.clock.now()
    if (node?.status !== 'online' || ctx.knownNodes.onlineUntil(node) <= ctx.room.leaseNow()) {
      throw new DomainError('node-not-deactivated', `SuperNode with node ID ${nodeId} could not be deactivated.`)
    }
    // It stays online until nothing has been heard of it for two heartbeats. No SuperNode tries this error again.
    if (!ctx.liveNodes.mayLeave(nodeId, now))
      throw new DomainError('node-not-deactivated', `SuperNode with node ID ${nodeId} joins and leaves too often.`)
    await ctx.knownNodes.update(tx, afterCommit, nodeId, {
      status: 'offline',
      lastDeactivatedAt: now,
      onlineUntil: now,
    })
    await recordOffline(ctx, tx, afterCommit, node, 'left')
    afterCommit(() => wakeWaiters(ctx, [nodeId]))
  })
  ctx.liveNodes.forget(nodeId)
}

/** A node whose certificate is refused from now on will not reply any more: its ServerApps get an error at once. */
export async function cutOffNode(ctx: Ctx, nodeId: NodeId): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    const node = await nodeStore.find(tx, nodeId)
    if (node?.status !== 'online') return
    const now = ctx.clock.now()
    await ctx.knownNodes.update(tx, afterCommit, nodeId, {
      status: 'offline',
      lastDeactivatedAt: now,
      onlineUntil: now,
    })
    await recordOffline(ctx, tx, afterCommit, node, 'certificate-refused')
    ctx.log.warn('A SuperNode was cut off, for its certificate is refused now', {
      node: nodeId,
      identity: node.identity,
    })
    afterCommit(() => wakeWaiters(ctx, [nodeId]))
  })
}

export async function unregisterNode(ctx: Ctx, nodeId: NodeId): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    const node = await nodeStore.find(tx, nodeId)
    if (!node || node.status === 'unregistered') throw new DomainError('node-not-owned')
    const now = ctx.clock.now()
    await ctx.knownNodes.update(tx, afterCommit, nodeId, {
      status: 'unregistered',
      unregisteredAt: now,
      ...(node.onlineUntil === undefined ? {} : { onlineUntil: Math.min(node.onlineUntil, now) }),
    })
    if (node.status === 'online') await recordOffline(ctx, tx, afterCommit, node, 'unregistered')
    await recordUnregistered(ctx, tx, afterCommit, node)
    afterCommit(() => wakeWaiters(ctx, [nodeId]))
  })
  ctx.liveNodes.forget(nodeId)
}

/** Marks nodes whose heartbeats have ended as offline. Returns when the next node would be silent. */
export async function expireNodes(ctx: Ctx): Promise<number> {
  if (ctx.room.isFull) return Number.POSITIVE_INFINITY
  await ctx.knownNodes.flush()
  const now = ctx.room.leaseNow()
  const silent = (await nodeStore.listSilent(ctx.db.read, now)).map(({ nodeId }) => nodeId)
  // A network that fails takes thousands of nodes with it.
  for (let start = 0; start < silent.length; start += limits.silentNodesPerTransactionMax)
    await takeOffline(ctx, silent.slice(start, start + limits.silentNodesPerTransactionMax), now)
  return nodeStore.nextSilence(ctx.db.read, now)
}

async function takeOffline(ctx: Ctx, silent: readonly NodeId[], now: number): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    for (const nodeId of silent) {
      const node = await nodeStore.find(tx, nodeId)
      // Look again: a beat may have come in between.
      if (node?.status !== 'online' || ctx.knownNodes.onlineUntil(node) > now) continue
      await ctx.knownNodes.update(tx, afterCommit, nodeId, {
        status: 'offline',
        lastDeactivatedAt: ctx.knownNodes.onlineUntil(node),
      })
      await forgetIncomplete(ctx, tx, afterCommit, nodeId)
      await recordOffline(ctx, tx, afterCommit, node, 'silent')
      ctx.log.warn('A SuperNode went silent and is offline', { node: nodeId, identity: node.identity })
    }
    afterCommit(() => wakeWaiters(ctx, silent))
  })
}

/**
 * Returns the node that a caller speaks for, if its credential has one. A certificate may have several nodes: the caller says
 * which one it claims to be. A key has one node.
 */
export async function findCredentialNode(
  ctx: Ctx,
  credential: NodeCredential,
  claimed: NodeId,
): Promise<Node | undefined> {
  const node = await ctx.knownNodes.find(claimed)
  return node && isOf(node, credential) ? node : undefined
}

function isOf(node: Node, credential: NodeCredential): boolean {
  if (credential.kind === 'none') return node.authMethod === 'none'
  if (credential.kind === 'key')
    return node.authMethod === 'key' && node.identity === undefined && node.publicKey === credential.publicKey
  const { identity, identityOrganization } = credential.peer
  const isOrganization = identityOrganization === undefined || node.organization === identityOrganization
  return node.identity === identity && isOrganization && node.status !== 'unregistered'
}

/** Returns the node with this key that has joined with a proof of the same kind. */
async function findKeyNode(db: Db, { kind }: NodeCredential, publicKey: string): Promise<Node | undefined> {
  const node = await findByKey(db, publicKey)
  return node?.authMethod === kind ? node : undefined
}

async function insertKeyNode(
  ctx: Ctx,
  tx: Db,
  afterCommit: AfterCommit,
  publicKey: string,
  owner: { id: string; name: string },
  fields: NodeLabel & Partial<Pick<Node, 'authMethod' | 'heartbeatIntervalMs'>>,
): Promise<Node> {
  if (await findByKey(tx, publicKey)) throw new DomainError('public-key-in-use')
  const node: Node = { ...newNode(owner, ctx.clock.now()), location: undefined, name: undefined, ...fields, publicKey }
  await nodeStore.insert(tx, node)
  await recordRegistered(ctx, tx, afterCommit, node)
  return node
}

async function bringOnline(
  ctx: Ctx,
  tx: Db,
  afterCommit: AfterCommit,
  node: Node,
  { intervalMs, tags }: { intervalMs: number; tags?: TagsBySource },
): Promise<void> {
  const now = ctx.clock.now()
  await ctx.knownNodes.update(tx, afterCommit, node.nodeId, {
    ...(node.status === 'online' ? {} : { status: 'online', lastActivatedAt: now }),
    onlineUntil: now + heartbeatPatience * intervalMs,
    heartbeatIntervalMs: intervalMs,
    ...(tags ? { tags } : {}),
  })
  if (node.status !== 'online') await recordOnline(ctx, tx, afterCommit, node)
  afterCommit(() => {
    // Calls that wait for replies need not look again: a node that comes makes none.
    if (node.status !== 'online') ctx.bells.nodes.ringAll()
    ctx.bells.deadlines.ring('deadlines')
  })
}

/** Throws `node-label-invalid` for tags that are too many, too long, or not tags. */
function tagsFor(credential: NodeCredential, given: NodeTags): TagsBySource {
  if (!areTags(given))
    throw new DomainError(
      'node-label-invalid',
      `The tags of the SuperNode are not valid: at most ${limits.nodeTagsMax}, each key=value with plain characters.`,
    )
  if (credential.kind !== 'certificate') return { own: given, certificate: {} }
  const { tags = {}, allowsOwnTags = true } = credential.peer
  return { own: allowsOwnTags ? given : {}, certificate: tags }
}

function ensureHeartbeatInterval(intervalMs: number): void {
  const valid = intervalMs >= heartbeatIntervalMs.min && intervalMs <= heartbeatIntervalMs.max
  if (!valid) throw new DomainError('heartbeat-interval-invalid')
}

/** Notifies ServerApps that nodes have gone: they wait for nodes, and for replies, which become errors. */
export function wakeWaiters(ctx: Ctx, nodeIds: readonly NodeId[]): void {
  ctx.bells.nodes.ringAll()
  ctx.bells.replies.nodesGone(nodeIds)
  ctx.bells.deadlines.ring('deadlines')
}
