import type { AfterCommit, Db } from '../../db/database.ts'
import type { SuperlinkContext } from '../context.ts'
import type { EventData } from '../events/event-catalog.ts'
import type { Node } from './node.ts'

/** The events of the life of a SuperNode, each recorded in the transaction that makes it true. */

type Ctx = Pick<SuperlinkContext, 'events'>
type Named = Pick<Node, 'nodeId' | 'name' | 'identity' | 'organization'>

export function recordRegistered(ctx: Ctx, tx: Db, afterCommit: AfterCommit, node: Node): Promise<void> {
  const sentence = `${titleOf(node)} is known from now on.`
  const data = { sentence, ...factsOf(node), authentication: node.authMethod }
  return ctx.events.record(tx, afterCommit, 'node.registered', data)
}

export function recordOnline(ctx: Ctx, tx: Db, afterCommit: AfterCommit, node: Node): Promise<void> {
  const data = { sentence: `${titleOf(node)} is online.`, ...factsOf(node), authentication: node.authMethod }
  return ctx.events.record(tx, afterCommit, 'node.online', data)
}

type Cause = EventData<'node.offline'>['cause']

const whyOffline: Readonly<Record<Cause, string>> = {
  left: 'it has left',
  silent: 'nothing was heard of it for two heartbeats',
  'certificate-refused': 'its certificate is refused now',
  blocked: 'an operator has blocked it',
  unregistered: 'it was unregistered',
}

export function recordOffline(ctx: Ctx, tx: Db, afterCommit: AfterCommit, node: Named, cause: Cause): Promise<void> {
  const data = { sentence: `${titleOf(node)} is offline: ${whyOffline[cause]}.`, ...factsOf(node), cause }
  return ctx.events.record(tx, afterCommit, 'node.offline', data)
}

export function recordUnregistered(ctx: Ctx, tx: Db, afterCommit: AfterCommit, node: Named): Promise<void> {
  const data = { sentence: `${titleOf(node)} was unregistered.`, ...factsOf(node) }
  return ctx.events.record(tx, afterCommit, 'node.unregistered', data)
}

const whatAdmissionMeans: Readonly<Record<Node['admission'], string>> = {
  open: 'may work',
  draining: 'is drained: it gets no new messages',
  blocked: 'is blocked',
}

export function recordAdmission(
  ctx: Ctx,
  tx: Db,
  afterCommit: AfterCommit,
  node: Named,
  admission: Node['admission'],
): Promise<void> {
  const sentence = `${titleOf(node)} ${whatAdmissionMeans[admission]}.`
  return ctx.events.record(tx, afterCommit, 'node.admission', { sentence, ...factsOf(node), admission })
}

function titleOf({ nodeId, name, identity }: Named): string {
  return `SuperNode ${name ?? identity ?? nodeId}`
}

function factsOf({ nodeId, name, identity, organization }: Named) {
  const title = name ?? identity
  return {
    node: String(nodeId),
    ...(title === undefined ? {} : { name: title }),
    ...(identity === undefined ? {} : { identity }),
    ...(organization ? { organization } : {}),
  }
}
