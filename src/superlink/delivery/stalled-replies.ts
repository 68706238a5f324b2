import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { SuperlinkContext } from '../context.ts'
import * as nodeStore from '../nodes/node-store.ts'
import { replaceReply } from './broken-replies.ts'
import type { TakingCtx } from './error-replies.ts'
import * as messageStore from './message-store.ts'
import * as nodeMessages from './node-messages.ts'

/**
 * Replies that were announced and whose objects stop coming although their SuperNode is online become errors: no app waits
 * for them until they expire. (A SuperNode that is gone or was restarted sends nothing more; `replies.ts` knows at once.)
 */

type Ctx = TakingCtx & Pick<SuperlinkContext, 'uploads' | 'room' | 'quotas'>

/**
 * Background job: looks while there are such replies. A restart gives them the whole time again, and so does a place for
 * objects that is out of order.
 */
export async function watchStalledReplies(
  ctx: Ctx,
  signal: AbortSignal,
  isPlaceInTrouble: () => boolean = () => false,
): Promise<void> {
  const stalls = new StalledReplies(ctx)
  while (!signal.aborted) {
    using news = ctx.bells.incomplete.subscribe('incomplete')
    const announced = await nodeMessages.listAnnounced(ctx.db.read)
    if (isPlaceInTrouble()) stalls.forget()
    for (const messageId of await stalls.look(announced)) {
      const reply = await messageStore.find(ctx.db.read, messageId)
      if (reply?.state === 'announced') await replaceReply(ctx, reply, 'was announced, and its objects stopped coming.')
    }
    if (announced.length === 0) await news.wait(limits.idleLookMs, signal)
    else await ctx.clock.sleep(limits.replyQuietMs / 6, signal).catch(() => {})
  }
}

/** Instants are those of `Uploads`: when the clock of the machine jumps, no reply is given up, and none is kept for hours. */
interface Progress {
  /** When the message was seen first, or nothing could be stored because the disk was full. */
  readonly since: number
  /** How many objects were missing, and since when as many: or since a quota of its run was reached last. */
  readonly missing?: { readonly count: number; readonly since: number }
}

interface Announced {
  readonly messageId: string
  readonly nodeId: NodeId
  readonly runId: RunId
}

class StalledReplies {
  readonly #ctx: Ctx
  #seen = new Map<string, Progress>()

  constructor(ctx: Ctx) {
    this.#ctx = ctx
  }

  /** Gives all messages the whole time again. */
  forget(): void {
    this.#seen.clear()
  }

  /** Returns the announced messages that make no progress. */
  async look(announced: readonly Announced[]): Promise<string[]> {
    const { uploads, room } = this.#ctx
    const now = uploads.monotonicNow()
    const seen = new Map<string, Progress>()
    const stalled: string[] = []
    for (const { messageId, nodeId, runId } of announced) {
      const before = (room.isFull ? undefined : this.#seen.get(messageId)) ?? { since: now }
      const progress =
        now - before.since < limits.replyQuietMs ? before : await this.#examine({ messageId, nodeId, runId }, before)
      if (progress) seen.set(messageId, progress)
      else stalled.push(messageId)
    }
    this.#seen = seen
    return stalled
  }

  /** Returns `undefined` if the message is given up. */
  async #examine({ messageId, nodeId, runId }: Announced, { since, missing }: Progress): Promise<Progress | undefined> {
    const { db, uploads, quotas } = this.#ctx
    const now = uploads.monotonicNow()
    const node = await nodeStore.find(db.read, nodeId)
    if (!node || now - uploads.lastAt(node) >= limits.replyQuietMs) return undefined
    // The node tries again and again. One that does not is given up although others wait for the room that its half reply takes.
    if (quotas.findRefusal(runId)) return { since }
    const count = await nodeMessages.countMissingObjects(db.read, messageId)
    if (missing?.count !== count) return { since, missing: { count, since: now } }
    return now - missing.since >= limits.replySilenceMs ? undefined : { since, missing }
  }
}
