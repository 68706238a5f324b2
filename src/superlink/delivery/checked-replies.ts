import { errorText } from '../../base/errors.ts'
import { superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { byHash, type CarriedObjects } from '../../objects/carried-objects.ts'
import { parseObject } from '../../objects/object-format.ts'
import type { ObjectKind } from '../../objects/object-store.ts'
import { flattenTreeInTurns } from '../../objects/object-tree.ts'
import type { SuperlinkContext } from '../context.ts'
import { listJoined } from './joined-objects.ts'
import type { NewMessage, StoredMessage } from './message-store.ts'
import { findMessageFault } from './reply-check.ts'

/** The check of one reply. Disposed of when it is done. */
export interface Check extends Disposable {
  readonly runId: bigint
  /** The reply is good: it need not be checked again. */
  pass(): void
}

/**
 * Checks each reply once before it is handed out: what one SuperNode sends must not end the ServerApp, and with it the run
 * of the others.
 */
export class CheckedReplies {
  /** Ids of good replies, the oldest first, until the ServerApp confirms them or their run ends. */
  readonly #good = new Map<string, bigint>()
  /** Checks under way, by the id of the reply. One is dropped if the reply is confirmed, or its run ends, before it is done. */
  readonly #checks = new Map<string, Check>()

  /** Of all runs together. */
  get count(): number {
    return this.#good.size + this.#checks.size
  }

  /** The ServerApp has these replies. */
  forget(messageIds: readonly string[]): void {
    for (const id of messageIds) {
      this.#good.delete(id)
      this.#checks.delete(id)
    }
  }

  /** The run has ended. */
  forgetRun(runId: bigint): void {
    for (const [id, run] of this.#good) if (run === runId) this.#good.delete(id)
    for (const [id, check] of this.#checks) if (check.runId === runId) this.#checks.delete(id)
  }

  /** What is wrong with a complete reply, or `undefined`. */
  async findFault(
    { db, objects }: Pick<SuperlinkContext, 'db' | 'objects'>,
    reply: StoredMessage,
  ): Promise<string | undefined> {
    // The SuperLink's own errors, which no node can send in its name, are good.
    if (this.#good.has(reply.metadata.messageId) || reply.metadata.srcNodeId === superlinkNodeId) return undefined
    using check = this.begin(reply)
    const fault = reply.isJoined ? await faultOfJoined(db, reply) : await faultOfStored(objects, reply)
    if (fault === undefined) check.pass()
    return fault
  }

  /** Begins the check of a reply that no ServerApp has confirmed, and whose run goes on. */
  begin({ metadata: { messageId, runId } }: Pick<NewMessage, 'metadata'>): Check {
    const isUnderWay = (): boolean => this.#checks.get(messageId) === check
    const check: Check = {
      runId,
      pass: () => {
        if (!isUnderWay()) return
        if (this.#good.size >= limits.repliesPerPullMax) this.#good.delete(this.#good.keys().next().value as string)
        this.#good.set(messageId, runId)
      },
      [Symbol.dispose]: () => {
        if (isUnderWay()) this.#checks.delete(messageId)
      },
    }
    this.#checks.set(messageId, check)
    return check
  }

  /** Checks a reply whose objects have just come with it. If something is wrong it is found again when it is handed out. */
  async noteCarried(reply: NewMessage, carried: CarriedObjects, check: Check): Promise<void> {
    const ids = await flattenTreeInTurns(reply.tree)
    // Other objects of the reply were here before.
    if (!ids.every((id) => carried.has(id))) return
    const kinds = new Map([...carried].map(([id, { type }]) => [id, kindOf(type)]))
    const fault = await findMessageFault(reply, kinds, async (id) => carried.get(id)?.bytes)
    if (fault === undefined) check.pass()
  }
}

async function faultOfStored(objects: SuperlinkContext['objects'], reply: StoredMessage): Promise<string | undefined> {
  const kinds = await objects.listKinds(await flattenTreeInTurns(reply.tree))
  return findMessageFault(reply, kinds, async (id) => (await objects.get(id))?.content)
}

async function faultOfJoined({ read }: SuperlinkContext['db'], reply: StoredMessage): Promise<string | undefined> {
  const { messageId } = reply.metadata
  try {
    const contents = (await listJoined(read, [messageId])).get(messageId) ?? []
    const objects = byHash(contents)
    const kinds = new Map([...objects].map(([id, bytes]) => [id, kindOf(parseObject(bytes).type)]))
    return await findMessageFault(reply, kinds, async (id) => objects.get(id))
  } catch (error) {
    return errorText(error)
  }
}

const kindOf = (type: string): ObjectKind => (type === 'ArrayChunk' ? 'chunk' : 'other')
