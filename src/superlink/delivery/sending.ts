import { superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { type CarriedObjects, nothingCarried } from '../../objects/carried-objects.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import { Joining } from './joining.ts'
import * as life from './life.ts'
import type { JoinedObjects, MessageState, NewMessage, Storing } from './message-store.ts'
import * as messageStore from './message-store.ts'

/** The begin of a message's life: it is stored with the objects that came along. */

type Ctx = Pick<SuperlinkContext, 'objects' | 'bells'>

/**
 * Stores a message with the objects that came along, `announced` or `offered`. Returns whether it is new, and the objects
 * whose content is missing: none if its receiver has it already. Throws `invalid-request` if its id belongs to another message.
 */
export async function send(ctx: Ctx, tx: Db, afterCommit: AfterCommit, message: NewMessage): Promise<Sent> {
  const [sent] = await sendAll(ctx, tx, afterCommit, [message])
  return sent as Sent
}

export interface Sent {
  readonly isNew: boolean
  readonly objectsToPush: readonly string[]
}

interface Along {
  /** Objects that came along. */
  readonly carried?: CarriedObjects
  readonly handOver?: HandOver | undefined
  /** Those of the messages that are stored already, if that is known. Then the messages are few, and none comes twice. */
  readonly known?: ReadonlyMap<string, messageStore.ListedMessage>
  /** Whether small messages are stored with their objects in one row. */
  readonly mayJoin?: boolean
}

/** Finds the calls of nodes that wait for a message. */
export interface HandOver {
  /** Returns when the node receives the new message, if one of its calls waits for it: after the commit. */
  reserve(message: NewMessage): { readonly at: number; readonly takesWhole: boolean } | undefined
  noteStored(message: NewMessage, joined: JoinedObjects | undefined): void
}

/** As `send`, for several messages, in their order. All of them go the same way. */
export async function sendAll(
  ctx: Ctx,
  tx: Db,
  afterCommit: AfterCommit,
  messages: readonly NewMessage[],
  along: Along = {},
): Promise<Sent[]> {
  const sent = new Map<NewMessage, Sent>()
  for (const some of withoutRepetition(messages)) {
    for (const [message, outcome] of await sendDistinct(ctx, tx, afterCommit, some, along)) sent.set(message, outcome)
  }
  return messages.map((message) => sent.get(message) as Sent)
}

/** Cuts the messages into groups of bounded size in which no id comes twice. */
function* withoutRepetition(messages: readonly NewMessage[]): Generator<readonly NewMessage[]> {
  let group = new Map<string, NewMessage>()
  for (const message of messages) {
    const id = message.metadata.messageId
    if (group.size === limits.messagesPerTransactionMax || group.has(id)) {
      yield [...group.values()]
      group = new Map()
    }
    group.set(id, message)
  }
  if (group.size > 0) yield [...group.values()]
}

async function sendDistinct(
  ctx: Ctx,
  tx: Db,
  afterCommit: AfterCommit,
  messages: readonly NewMessage[],
  along: Along,
): Promise<Map<NewMessage, Sent>> {
  const { carried = nothingCarried, handOver, mayJoin = true } = along
  const known = along.known ?? (await messageStore.findSent(tx, messages.map(life.idOf)))
  const sent = new Map<NewMessage, Sent>()
  const named: { message: NewMessage; messageId: string; objectIds: readonly string[] }[] = []
  const storing = new Map<NewMessage, Storing>()
  const joining = new Joining(messages, carried)
  for (const message of messages) {
    const stored = known.get(life.idOf(message))
    if (stored) messageStore.ensureSameMessage(stored, message)
    if (stored && hasAllObjects(stored)) {
      sent.set(message, { isNew: false, objectsToPush: [] })
      continue
    }
    const objectIds = await flattenTreeInTurns(message.tree)
    const handed = stored ? undefined : handOver?.reserve(message)
    const joined = !stored && (handed?.takesWhole ?? mayJoin) ? joining.join(message, objectIds) : undefined
    if (!stored) storing.set(message, { state: 'offered', deliveredAt: handed?.at, joined })
    if (joined) sent.set(message, { isNew: true, objectsToPush: [] })
    else named.push({ message, messageId: life.idOf(message), objectIds })
  }
  // The nodes fetch their messages as soon as they are stored.
  const manyWillAsk = messages.some(({ metadata }) => metadata.dstNodeId !== superlinkNodeId)
  const allNamed = [...named, ...joining.bundles]
  const missing =
    allNamed.length === 0
      ? nothingMissing
      : await ctx.objects.announceAll(tx, afterCommit, allNamed, carried, { manyWillAsk })
  for (const { message, objectIds } of named)
    sent.set(message, {
      isNew: !known.has(life.idOf(message)),
      objectsToPush: missing.size === 0 ? [] : objectIds.filter((id) => missing.has(id)),
    })
  const isWhole = (message: NewMessage): boolean => sent.get(message)?.objectsToPush.length === 0
  await life.storeNew(ctx, tx, afterCommit, [...storing.keys()], (message) => {
    const how = storing.get(message) as Storing
    return { ...how, state: how.deliveredAt !== undefined ? 'fetched' : isWhole(message) ? 'offered' : 'announced' }
  })
  for (const [message, { joined }] of storing) handOver?.noteStored(message, joined)
  return sent
}

const nothingMissing: ReadonlySet<string> = new Set()

/** Objects of its own may be gone, because its receiver has them, or are in its row: they must not be asked for again. */
function hasAllObjects({ state, metadata, isJoined }: messageStore.ListedMessage): boolean {
  return isJoined || letGoOfObjects.includes(state) || (state === 'offered' && metadata.dstNodeId === superlinkNodeId)
}

const letGoOfObjects: readonly MessageState[] = ['held', 'answered', 'taken']
