import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import type { Metadata } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import { listUnusedBundles } from './joined-objects.ts'
import type { MessageState, NewMessage, SentMessage, StoredMessage, Storing } from './message-store.ts'
import * as messageStore from './message-store.ts'
import { listCompletedBy, listWhole } from './missing-objects.ts'
import * as nodeMessages from './node-messages.ts'
import * as participantStore from './participant-store.ts'
import { findReplyTo } from './replies-to.ts'
import * as runMessages from './run-messages.ts'

/**
 * The life of a message, in one table. Messages of ServerApps and of SuperNodes are of one kind: what a message is follows
 * from its sender, its receiver and the message that it replies to. This file alone changes states; the rules beside it decide when.
 *
 * | state | means |
 * | --- | --- |
 * | `announced` | stored; some of its objects are not here. Nodes may fetch it, because they wait for objects; a ServerApp may not |
 * | `offered` | whole, and waits for its receiver. A ServerApp may receive it until it confirms |
 * | `fetched` | its node has received it and has not confirmed it |
 * | `held` | its node has confirmed it, and it has let go of objects that have rows of their own |
 * | `answered` | its reply is whole, or is an error |
 * | `taken` | the ServerApp has confirmed a message that replies to nothing: the same message again is not stored anew |
 *
 * An instruction for a call that waits is stored as `fetched`: `PushHandOver` in `instructions.ts`.
 *
 * A message without a row is forgotten. Any state can end so, when the run ends or the message will not come whole.
 */
export const transitions = [
  { from: 'announced', to: 'offered', by: 'its last object', wakes: 'its ServerApp' },
  { from: 'announced', to: 'fetched', by: 'its node', wakes: undefined },
  { from: 'offered', to: 'fetched', by: 'its node', wakes: undefined },
  {
    from: 'fetched',
    to: 'announced',
    by: 'a lost response, or a start of its node or the SuperLink',
    wakes: 'its node',
  },
  {
    from: 'fetched',
    to: 'offered',
    by: 'a lost response, or a start of its node or the SuperLink',
    wakes: 'its node',
  },
  { from: 'fetched', to: 'held', by: 'its node', wakes: undefined },
  { from: 'offered', to: 'held', by: 'its node, which received it before the SuperLink started', wakes: undefined },
  { from: 'announced', to: 'answered', by: 'a reply', wakes: 'its ServerApp' },
  { from: 'offered', to: 'answered', by: 'a reply', wakes: 'its ServerApp' },
  { from: 'fetched', to: 'answered', by: 'a reply', wakes: 'its ServerApp' },
  { from: 'held', to: 'answered', by: 'a reply', wakes: 'its ServerApp' },
  { from: 'offered', to: 'taken', by: 'its ServerApp', wakes: undefined },
] as const satisfies readonly {
  readonly from: MessageState
  readonly to: MessageState
  readonly by: string
  readonly wakes: 'its ServerApp' | 'its node' | undefined
}[]

type Ctx = Pick<SuperlinkContext, 'objects' | 'bells'>

/** Moves the messages to this state; leaves out each one whose state the table does not let move there. */
function move(tx: Db, ids: readonly string[], to: MessageState, deliveredAt?: number): Promise<void> {
  const from = transitions.filter((row) => row.to === to).map((row) => row.from)
  return messageStore.move(tx, ids, from, { state: to, ...(deliveredAt === undefined ? {} : { deliveredAt }) })
}

export const idOf = ({ metadata }: Pick<NewMessage, 'metadata'>): string => metadata.messageId

/** A message of the SuperLink's own, and its one object. */
export interface OwnMessage {
  readonly message: NewMessage
  readonly content: Uint8Array
}

/** Stores messages of the SuperLink's own. */
export async function sendWhole(ctx: Ctx, tx: Db, afterCommit: AfterCommit, own: readonly OwnMessage[]): Promise<void> {
  const messages = own.map(({ message }) => message)
  const named = messages.map(idOf).map((id) => ({ messageId: id, objectIds: [id] }))
  const carried = own.map(({ message, content }) => ({ id: idOf(message), type: 'Message', bytes: content }))
  await ctx.objects.announceAll(tx, afterCommit, named, new Map(carried.map((object) => [object.id, object])))
  await storeNew(ctx, tx, afterCommit, messages, () => ({ state: 'offered' }))
}

/** Stores new messages in their order: a node receives the oldest one first. */
export async function storeNew(
  ctx: Pick<Ctx, 'bells'>,
  tx: Db,
  afterCommit: AfterCommit,
  messages: readonly NewMessage[],
  storing: (message: NewMessage) => Storing,
): Promise<void> {
  if (messages.length === 0) return
  await messageStore.insertAll(tx, messages, storing)
  const sent = messages.map(({ metadata }) => metadata)
  await participantStore.insertAll(
    tx,
    sent.filter(({ dstNodeId }) => dstNodeId !== superlinkNodeId),
  )
  const states = messages.map((message) => storing(message).state)
  const toApp = (state: MessageState): Metadata[] =>
    sent.filter(({ dstNodeId }, index) => dstNodeId === superlinkNodeId && states[index] === state)
  await arrive(ctx, tx, afterCommit, toApp('offered'))
  // A node replies to what it has, although it may have received that in a former life.
  await move(tx, answeredBy(toApp('announced')), 'fetched')
}

function answeredBy(replies: readonly Metadata[]): string[] {
  return replies.flatMap(({ replyToMessageId }) => (replyToMessageId === '' ? [] : [replyToMessageId]))
}

/** Objects were stored: messages that they complete become `offered`. Called within the transaction that stores them. */
export async function complete(
  ctx: Pick<SuperlinkContext, 'bells' | 'runNodes'>,
  tx: Db,
  afterCommit: AfterCommit,
  objectIds: readonly string[],
): Promise<void> {
  const completed = await listCompletedBy(tx, objectIds)
  if (completed.length === 0) return
  await move(
    tx,
    completed.map(({ messageId }) => messageId),
    'offered',
  )
  const { toApp = [], toNode = [] } = Object.groupBy(completed, ({ dstNodeId }) =>
    dstNodeId === superlinkNodeId ? 'toApp' : 'toNode',
  )
  await arrive(ctx, tx, afterCommit, toApp)
  // SuperNodes that wait for a message were notified when it was announced.
  const runIds = new Set(toNode.map(({ runId }) => runId as RunId))
  afterCommit(() => {
    for (const runId of runIds) ctx.runNodes.completed?.(runId)
  })
}

/** Messages to ServerApps are whole. */
async function arrive(
  ctx: Pick<Ctx, 'bells'>,
  tx: Db,
  afterCommit: AfterCommit,
  messages: readonly Metadata[],
): Promise<void> {
  await move(tx, answeredBy(messages), 'answered')
  afterCommit(() => {
    for (const { runId, replyToMessageId } of messages) ctx.bells.replies.arrived(runId as RunId, replyToMessageId)
  })
}

/** Nodes or virtual nodes receive messages. The caller has found them waiting in this transaction. */
export function handOut(tx: Db, messages: readonly StoredMessage[], now: number): Promise<void> {
  return move(tx, messages.map(idOf), 'fetched', now)
}

/** The receiver hung up before it had the response: the message waits again, unless it has moved on since. */
export async function giveBack(
  ctx: Pick<Ctx, 'bells'>,
  tx: Db,
  afterCommit: AfterCommit,
  { metadata, deliveredAt }: StoredMessage,
): Promise<boolean> {
  const stored = await messageStore.find(tx, metadata.messageId)
  const isSame = stored?.state === 'fetched' && stored.deliveredAt === deliveredAt
  if (!isSame || (await findReplyTo(tx, metadata.messageId))) return false
  await offerAgain(tx, [metadata.messageId])
  afterCommit(() => ctx.bells.instructions.ring(metadata.dstNodeId as NodeId))
  return true
}

/** A node has started anew or lost a response: all messages that it received and did not confirm wait again. Returns how many. */
export async function giveBackAll(
  ctx: Pick<Ctx, 'bells'>,
  tx: Db,
  afterCommit: AfterCommit,
  nodeId: NodeId,
): Promise<number> {
  const ids = await nodeMessages.listFetched(tx, nodeId)
  if (ids.length === 0) return 0
  await offerAgain(tx, ids)
  afterCommit(() => ctx.bells.instructions.ring(nodeId))
  return ids.length
}

/**
 * The SuperLink has started anew: all messages wait again that a node received and neither confirmed nor began to reply to,
 * because the response with the message may have been lost. A node that has it does not execute it again. Returns how many.
 */
export async function giveBackAtStart(tx: Db): Promise<number> {
  const ids = await nodeMessages.listFetchedByAny(tx)
  await offerAgain(tx, ids)
  return ids.length
}

async function offerAgain(tx: Db, ids: readonly string[]): Promise<void> {
  const whole = new Set(await listWhole(tx, ids))
  await move(tx, [...whole], 'offered')
  const incomplete = ids.filter((id) => !whole.has(id))
  await move(tx, incomplete, 'announced')
}

/** Its node has everything, so the message lets go of its objects. Small ones that it has in its row stay as long as the row. */
export async function hold(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  message: SentMessage,
): Promise<void> {
  const id = idOf(message)
  if (!message.isJoined) await ctx.objects.release(tx, afterCommit, [id])
  await move(tx, [id], 'held')
}

/**
 * Nodes have replied to messages. Of one that was here whole its node has everything, so it lets go of its objects, as in
 * `hold`.
 */
export async function letGo(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  messages: readonly SentMessage[],
): Promise<void> {
  const apart = messages.filter(({ isJoined }) => !isJoined).map(idOf)
  if (apart.length > 0) await ctx.objects.release(tx, afterCommit, await listWhole(tx, apart))
}

/** The ServerApp has a message that replies to nothing. */
export async function take(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  metadata: Metadata,
): Promise<void> {
  await ctx.objects.release(tx, afterCommit, [metadata.messageId])
  await move(tx, [metadata.messageId], 'taken')
  await participantStore.countUnpromptedBytes(tx, metadata)
}

/**
 * Any state → no row. A message whose announced reply is forgotten stays as it is; one whose whole reply is replaced by an
 * error gets that error in the same transaction.
 */
export async function forget(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  ids: readonly string[],
): Promise<void> {
  await ctx.objects.release(tx, afterCommit, ids)
  await releaseBundles(ctx, tx, afterCommit, await messageStore.remove(tx, ids))
}

/** Messages do not have these bundles any more. What no other message has lets go of its objects. */
export async function releaseBundles(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  bundleIds: ReadonlySet<string>,
): Promise<void> {
  if (bundleIds.size === 0) return
  const unused = await listUnusedBundles(tx, bundleIds)
  if (unused.length > 0) await ctx.objects.release(tx, afterCommit, unused)
}

/** As `forget`, for messages of one node in one run that reply to nothing. */
export async function forgetUnprompted(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  metadata: Metadata,
  ids: readonly string[],
): Promise<void> {
  await forget(ctx, tx, afterCommit, ids)
  await participantStore.countUnpromptedBytes(tx, metadata)
}

/** An object of a message that replies to nothing is being stored. */
export function countUnprompted(tx: Db, nodeId: NodeId, runId: RunId, bytes: number): Promise<void> {
  return participantStore.addUnpromptedBytes(tx, nodeId, runId, bytes)
}

/** All messages of a run. Unless the run has ended, the nodes that it has asked for something are still known. */
export async function forgetRun(
  ctx: Pick<Ctx, 'objects'>,
  tx: Db,
  afterCommit: AfterCommit,
  runId: RunId,
  hasEnded: boolean,
): Promise<void> {
  await forget(ctx, tx, afterCommit, await runMessages.listIdsOfRun(tx, runId))
  if (hasEnded) await participantStore.removeOfRun(tx, runId)
  else await participantStore.clearUnpromptedBytes(tx, runId)
}
