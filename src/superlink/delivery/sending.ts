import { superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { type CarriedObjects, nothingCarried } from '../../objects/carried-objects.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import { joinFor } from './joined-replies.ts'
import * as life from './life.ts'
import type { MessageState, NewMessage } from './message-store.ts'
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
  readonly handOver?: life.HandOver | undefined
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
  { carried = nothingCarried, handOver }: Along,
): Promise<Map<NewMessage, Sent>> {
  const known = new Map((await messageStore.listSent(tx, messages.map(life.idOf))).map((one) => [life.idOf(one), one]))
  const sent = new Map<NewMessage, Sent>()
  const named: { message: NewMessage; messageId: string; objectIds: readonly string[] }[] = []
  const joined = new Map<NewMessage, { objects: Uint8Array; count: number }>()
  for (const message of messages) {
    const stored = known.get(life.idOf(message))
    if (stored) messageStore.ensureSameMessage(stored, message)
    if (stored && hasAllObjects(stored)) {
      sent.set(message, { isNew: false, objectsToPush: [] })
      continue
    }
    const objectIds = await flattenTreeInTurns(message.tree)
    const together = stored ? undefined : joinFor(message, objectIds, carried)
    if (together) {
      joined.set(message, together)
      sent.set(message, { isNew: true, objectsToPush: [] })
    } else named.push({ message, messageId: life.idOf(message), objectIds })
  }
  // The nodes fetch their messages as soon as they are stored.
  const manyWillAsk = messages.some(({ metadata }) => metadata.dstNodeId !== superlinkNodeId)
  const missing =
    named.length === 0
      ? nothingMissing
      : await ctx.objects.announceAll(tx, afterCommit, named, carried, { manyWillAsk })
  for (const { message, objectIds } of named)
    sent.set(message, {
      isNew: !known.has(life.idOf(message)),
      objectsToPush: missing.size === 0 ? [] : objectIds.filter((id) => missing.has(id)),
    })
  const isNew = (message: NewMessage): boolean => !known.has(life.idOf(message))
  const isWhole = (message: NewMessage): boolean => sent.get(message)?.objectsToPush.length === 0
  await life.storeNew(ctx, tx, afterCommit, messages.filter(isNew), { isWhole, joined, handOver })
  return sent
}

const nothingMissing: ReadonlySet<string> = new Set()

/** Objects of its own may be gone, because its receiver has them, or are in its row: they must not be asked for again. */
function hasAllObjects({ state, metadata }: messageStore.SentMessage & { state: MessageState }): boolean {
  return letGoOfObjects.includes(state) || (state === 'offered' && metadata.dstNodeId === superlinkNodeId)
}

const letGoOfObjects: readonly MessageState[] = ['held', 'answered', 'taken']
