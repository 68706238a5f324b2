import { DomainError } from '../../base/errors.ts'
import type { Db } from '../../db/database.ts'
import { refusalSentence } from '../../identity/refusal-sentence.ts'
import type { SuperlinkContext } from '../context.ts'
import { findBlocked, findByKey } from './find-nodes.ts'
import { type Admission, type Node, type NodeCredential, provenKeyOf } from './node.ts'
import { recordAdmission, recordOffline } from './node-events.ts'
import * as nodeStore from './node-store.ts'
import { wakeWaiters } from './nodes.ts'

/**
 * What an operator lets a SuperNode do. `draining`: it finishes what it was given, and gets nothing new. `blocked`: it is
 * refused, and its ServerApps get an error reply at once. Both survive restarts. For a SuperNode with a certificate this is a
 * fact about the identity, so that a new certificate, or a new node id, does not end it.
 */

const sayings: Record<Admission, string> = {
  open: 'An operator lets a SuperNode work',
  draining: 'An operator drains a SuperNode: it gets no new messages',
  blocked: 'An operator has blocked a SuperNode: it is refused from now on',
}

export function parseAdmission(text: string): Admission {
  if (Object.hasOwn(sayings, text)) return text as Admission
  throw new DomainError('invalid-request', "The admission of a SuperNode is 'open', 'draining' or 'blocked'.")
}

export async function setAdmission(ctx: SuperlinkContext, node: Node, admission: Admission): Promise<void> {
  const nodes = await ctx.db.transaction(async (tx, afterCommit) => {
    const now = ctx.clock.now()
    const nodes = await nodeStore.listSameIdentity(tx, node)
    for (const one of nodes) {
      const { nodeId, status } = one
      const isCutOff = admission === 'blocked' && status === 'online'
      await ctx.knownNodes.update(tx, afterCommit, nodeId, {
        admission,
        ...(isCutOff ? { status: 'offline', lastDeactivatedAt: now, onlineUntil: now } : {}),
      })
      if (isCutOff) await recordOffline(ctx, tx, afterCommit, one, 'blocked')
      if (one.admission !== admission) await recordAdmission(ctx, tx, afterCommit, one, admission)
    }
    afterCommit(() =>
      wakeWaiters(
        ctx,
        nodes.map(({ nodeId }) => nodeId),
      ),
    )
    return nodes
  })
  ctx.log.info(sayings[admission], { node: node.nodeId, identity: node.identity })
  // Its next call is refused with the reason; calls that are held would not notice.
  if (admission === 'blocked') for (const { nodeId } of nodes) ctx.liveNodes.closeConnections(nodeId)
}

/** Throws `node-blocked` if an operator has blocked the node. */
export function ensureNotBlocked({ admission, identity, nodeId }: Node): void {
  if (admission !== 'blocked') return
  throw new DomainError('node-blocked', refusalSentence('node-blocked', identity ?? `node ${nodeId}`))
}

/**
 * Throws `node-blocked` if an operator has blocked a node that this credential speaks for, registered or not. `claimedKey` counts
 * where no proof is asked for.
 */
export async function ensureMayJoin(db: Db, credential: NodeCredential, claimedKey: string): Promise<void> {
  const { kind } = credential
  const key = provenKeyOf(credential) ?? (kind === 'none' ? claimedKey : undefined)
  const byKey = key === undefined ? undefined : await findByKey(db, key)
  if (byKey) ensureNotBlocked(byKey)
  const blocked = kind === 'certificate' ? await findBlocked(db, credential.peer) : undefined
  if (blocked) ensureNotBlocked(blocked)
}
