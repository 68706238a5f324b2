import type { NodeId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import type { ObjectStore } from '../../objects/object-store.ts'
import { flattenTree } from '../../objects/object-tree.ts'
import type { StoredMessage } from './message-store.ts'
import * as messageStore from './message-store.ts'

/**
 * The life of an instruction, in one table. This file alone changes states; the rules beside it decide when, and notify
 * waiting calls after the commit.
 *
 * | state | stored as | moved on by | wakes |
 * | --- | --- | --- | --- |
 * | `offered` | not delivered | a pull of its node, the start of a virtual node | `bells.instructions`: its node waits for it |
 * | `fetched` | delivered, with its objects | its node: confirms, replies, hangs up, starts anew | – |
 * | `held` | delivered, without objects | its node: replies, starts anew | – |
 * | `answered` | has a reply | its ServerApp, which confirms the reply; a reply that does not come whole is withdrawn | `bells.replies`: its run waits for replies |
 * | `forgotten` | no row | – | – |
 *
 * Any state fails into `answered` with an error reply: expired, node gone, node restarted, app ended, refused. The end of its
 * run makes any state `forgotten`.
 */
export const transitions = {
  offered: ['fetched', 'answered', 'forgotten'],
  fetched: ['offered', 'held', 'answered', 'forgotten'],
  held: ['answered', 'forgotten'],
  answered: ['fetched', 'held', 'forgotten'],
  forgotten: [],
} as const satisfies Readonly<Record<string, readonly string[]>>

export type InstructionState = keyof typeof transitions

export async function stateOf(db: Db, messageId: string): Promise<InstructionState> {
  const instruction = await messageStore.find(db, messageId)
  if (!instruction) return 'forgotten'
  if ((await messageStore.listRepliesTo(db, [messageId])).length > 0) return 'answered'
  if (instruction.deliveredAt === undefined) return 'offered'
  return (await messageStore.hasObjects(db, messageId)) ? 'fetched' : 'held'
}

interface Ctx {
  readonly objects: ObjectStore
}

/** A new instruction becomes `offered`. Returns the objects whose content is missing. */
export async function offer(ctx: Ctx, tx: Db, instruction: Omit<StoredMessage, 'deliveredAt'>): Promise<string[]> {
  await messageStore.insert(tx, { ...instruction, deliveredAt: undefined })
  return ctx.objects.announce(tx, instruction.metadata.messageId, flattenTree(instruction.tree))
}

/** `offered` → `fetched`. The caller has found the instruction pending in this transaction. */
export async function handOut(tx: Db, { metadata }: StoredMessage, now: number): Promise<void> {
  await messageStore.markDelivered(tx, metadata.messageId, now)
}

/** `fetched` → `offered`: the receiver hung up before it had the response. Returns whether that was still so. */
export function giveBack(tx: Db, messageId: string, fetchedAt: number): Promise<boolean> {
  return messageStore.undeliver(tx, messageId, fetchedAt)
}

/** `fetched` → `offered` for all that a node had before it started anew. Returns how many. */
export function offerAgain(tx: Db, nodeId: NodeId): Promise<number> {
  return messageStore.undeliverUnconfirmed(tx, nodeId)
}

/** `fetched` → `held`: the node has everything. */
export function hold(ctx: Ctx, tx: Db, afterCommit: AfterCommit, messageId: string): Promise<void> {
  return ctx.objects.release(tx, afterCommit, [messageId])
}

/**
 * Any open state → `answered`. What is answered is not offered any more, also if its node started anew. Returns whether the
 * reply is new; its objects are announced by the caller.
 */
export async function answer(tx: Db, reply: Omit<StoredMessage, 'deliveredAt'>, now: number): Promise<boolean> {
  const isNew = await messageStore.insert(tx, { ...reply, deliveredAt: undefined })
  if (isNew) await messageStore.markDelivered(tx, reply.metadata.replyToMessageId, now)
  return isNew
}

/** `answered` → `fetched` or `held`: the replies will not come whole. Any state → `forgotten`, if instructions are named. */
export async function forget(ctx: Ctx, tx: Db, afterCommit: AfterCommit, ids: readonly string[]): Promise<void> {
  await ctx.objects.release(tx, afterCommit, ids)
  for (let start = 0; start < ids.length; start += idsPerStatement)
    await messageStore.remove(tx, ids.slice(start, start + idsPerStatement))
}

const idsPerStatement = 500
