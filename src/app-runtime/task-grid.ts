import type { TaskApi, TaskEvent } from '../app-api/task-api.ts'
import { sendMessages } from '../app-api/task-messages.ts'
import { forEachAtOnce } from '../base/at-once.ts'
import { isoTimestamp, systemClock } from '../base/clock.ts'
import { superlinkNodeId } from '../base/ids.ts'
import { collectLargeGarbage } from '../base/large-garbage.ts'
import { limits } from '../base/limits.ts'
import { Together } from '../base/together.ts'
import type { Context } from '../message/context.ts'
import { deflateMessage } from '../message/deflate.ts'
import type { Message, MessageError } from '../message/message.ts'
import { contextToWire } from '../message/wire.ts'
import type { Grid, LateReply, NodeInfo, Progress, WaitOptions } from '../sdk/grid.ts'
import type { HeldReply } from '../sdk/held-reply.ts'
import { log } from '../sdk/log.ts'
import { Confirmations } from './confirmations.ts'
import { holdReply, type OfferedReply, offeredReplies, takeReply } from './held-replies.ts'
import { nodeFromWire } from './node-info.ts'

/** What upstream's clients pause between two questions, for servers that do not hold them. */
const pollMs = 3000
const waitMs = 25_000
/** How long the last response of a held call may take. */
const graceMs = 500
/** The longest that a timer can run. */
const timerMsMax = 2 ** 31 - 1

/** Every question names all open messages: with thousands of them replies gather for a moment before the next. */
const gatherMs = (open: number): number => Math.min(Math.floor(open / 4), 1000)

/** The Grid of a ServerApp: what it asks its SuperLink. */
export class TaskGrid implements Grid {
  readonly runId: bigint
  readonly #api: TaskApi
  readonly #taskId: bigint | undefined
  /** Messages whose replies were not handed out yet. */
  readonly #open = new Set<string>()
  /** Messages whose replies were waited for in vain. */
  readonly #late = new Set<string>()
  /** Replies that were handed out and stay at the server: a question for every message meets them again. */
  readonly #held = new Map<string, { readonly bytesAtHand: number }>()
  #heldBytes = 0
  readonly #confirmations: Confirmations
  /** Each call is a commit of the server: what is reported while one is under way goes into the next. */
  readonly #together: Together<TaskEvent, void>
  #events: Promise<void> = Promise.resolve()
  #warned = false

  constructor(api: TaskApi, run: { runId: bigint; taskId: bigint | undefined }) {
    this.#api = api
    this.runId = run.runId
    this.#taskId = run.taskId
    this.#together = new Together<TaskEvent, void>({
      work: async (events) => {
        await api.pushEvents(events)
        return events.map(() => undefined)
      },
      keysOf: () => [],
      atOnce: limits.eventsPerCallMax,
    })
    this.#confirmations = new Confirmations(this.#route())
  }

  async getNodeIds(options?: { knownNodes?: number }): Promise<bigint[]> {
    return (await this.#api.getNodes(options)).map(({ nodeId }) => nodeId)
  }

  async getNodes(options?: { knownNodes?: number }): Promise<NodeInfo[]> {
    return (await this.#api.getNodes(options)).map((node) => nodeFromWire(node, systemClock.now()))
  }

  async pushMessages(messages: Iterable<Message>): Promise<(string | undefined)[]> {
    const deflated = [...messages].map((message) =>
      deflateMessage(message, {
        ...message.metadata,
        runId: this.runId,
        srcNodeId: superlinkNodeId,
        srcTaskId: this.#taskId,
      }),
    )
    if (deflated.length === 0) return []
    const ids = (await sendMessages(this.#route(), deflated)).map((id) => (id === '' ? undefined : id))
    for (const id of ids) if (id !== undefined) this.#open.add(id)
    return ids
  }

  async pullMessages(
    messageIds?: Iterable<string>,
    options: { waitMs?: number; signal?: AbortSignal } = {},
  ): Promise<Message[]> {
    options.signal?.throwIfAborted()
    const replies: Message[] = []
    try {
      await this.#pull(
        [...(messageIds ?? this.#open)],
        { holdMs: options.waitMs ?? 0, signal: options.signal, wantsAll: messageIds === undefined },
        async (reply, signal) => {
          replies.push(await takeReply(reply, this.#taking(signal)))
        },
      )
    } catch (error) {
      // What has been fetched is not handed out again.
      if (!options.signal?.aborted || replies.length === 0) throw error
    }
    return replies
  }

  async sendAndReceive(messages: Iterable<Message>, options: WaitOptions = {}): Promise<Message[]> {
    return this.#sendAndAwait(messages, options, (reply, signal) => takeReply(reply, this.#taking(signal)))
  }

  async sendAndHold(messages: Iterable<Message>, options: WaitOptions = {}): Promise<HeldReply[]> {
    const route = this.#route()
    const release = (messageId: string): Promise<void> => this.#release(messageId)
    return this.#sendAndAwait(messages, options, async (reply, signal) => {
      const { objectId } = reply.tree
      const bytesAtHand = reply.atHand.values().reduce((sum, { length }) => sum + length, 0)
      this.#held.set(objectId, { bytesAtHand })
      this.#heldBytes += bytesAtHand
      try {
        return await holdReply(reply, { route, release, signal })
      } catch (error) {
        // It is not handed out, so the server may offer it again.
        this.#forgetHeld(objectId)
        throw error
      }
    })
  }

  async dropLateReplies(): Promise<LateReply[]> {
    const dropped: LateReply[] = []
    const wait = { holdMs: 0, signal: undefined, leavesObjects: true }
    await this.#pull([...this.#late], wait, async ({ metadata, tree }) => {
      await this.#release(tree.objectId)
      dropped.push({ nodeId: metadata.srcNodeId, messageType: metadata.messageType })
    })
    return dropped
  }

  /** Returns what `take` makes of the replies that came in time, in the order of the messages. */
  async #sendAndAwait<R extends { readonly error: MessageError | undefined }>(
    messages: Iterable<Message>,
    { timeoutSeconds = Number.POSITIVE_INFINITY, enough = Number.POSITIVE_INFINITY }: WaitOptions,
    take: (reply: OfferedReply, signal: AbortSignal) => Promise<R>,
  ): Promise<R[]> {
    const timeoutMs = timeoutSeconds * 1000
    const endsAt = systemClock.now() + timeoutMs
    // The server ends a held call in time; this is for transfers, and for a server that is away.
    const signal = AbortSignal.timeout(Math.min(timeoutMs + graceMs, timerMsMax))
    const ids = (await this.pushMessages(messages)).filter((id) => id !== undefined)
    // While the nodes work: the sum of the replies would come to lie beside the model of an earlier round.
    collectLargeGarbage()
    const open = new Set(ids)
    const received = new Map<string, R>()
    let succeeded = 0
    try {
      while (open.size > 0 && succeeded < enough && systemClock.now() < endsAt) {
        const restMs = endsAt - systemClock.now()
        const wait = { holdMs: Math.min(waitMs, restMs), signal }
        const { waited, isCut } = await this.#pull([...open], wait, async (reply, signal) => {
          const { replyToMessageId } = reply.metadata
          const taken = await take(reply, signal)
          open.delete(replyToMessageId)
          if (!taken.error) succeeded++
          received.set(replyToMessageId, taken)
        })
        const pauseMs = isCut ? 0 : waited ? gatherMs(open.size) : pollMs
        if (open.size > 0 && succeeded < enough) await systemClock.sleep(Math.min(pauseMs, restMs), this.#api.signal)
      }
    } catch (error) {
      if (this.#api.signal.aborted || systemClock.now() < endsAt) throw error
    }
    for (const id of open) this.#late.add(id)
    return ids.flatMap((id) => received.get(id) ?? [])
  }

  async saveState(context: Context): Promise<void> {
    // The configurations are known where the app starts again.
    const isKept = await this.#api.saveCheckpoint(contextToWire({ ...context, nodeConfig: {}, runConfig: {} }))
    if (!isKept && !this.#warned)
      log.warn('This SuperLink keeps no checkpoints: a ServerApp that is lost cannot go on.')
    this.#warned ||= !isKept
  }

  reportProgress(progress: Progress): void {
    const event = {
      timestamp: isoTimestamp(systemClock.now()),
      event: 'trellis.progress',
      data: JSON.stringify(progress),
    }
    // In order, and never in the way of the run.
    const sent = this.#together.do(event).catch(() => {})
    this.#events = this.#events.then(() => sent)
  }

  /** Resolves when everything that was reported or confirmed has been sent. */
  async flush(): Promise<void> {
    await this.#events
    await this.#confirmations.flush().catch(() => {})
  }

  /** Takes several replies at a time. Those that were taken are not handed out again, even if another one fails. */
  async #pull(
    messageIds: string[],
    wait: { holdMs: number; signal: AbortSignal | undefined; wantsAll?: boolean; leavesObjects?: boolean },
    take: (reply: OfferedReply, signal: AbortSignal) => Promise<void>,
  ): Promise<{ waited: boolean; isCut: boolean }> {
    const { holdMs, signal = this.#api.signal, wantsAll = false, leavesObjects = false } = wait
    if (messageIds.length === 0 && !wantsAll) return { waited: false, isCut: false }
    // The server must not hand out again what the app has.
    await this.#confirmations.flush(signal)
    const hasRoom = this.#heldBytes < limits.carriedHeldBytesMax
    const objectsBytesMax = hasRoom && !leavesObjects ? this.#api.objectsBytesMax : 0
    const response = await this.#api.pullMessages(messageIds, { waitMs: holdMs, signal, wantsAll, objectsBytesMax })
    const offered = offeredReplies(response, this.runId).filter(({ tree }) => !this.#held.has(tree.objectId))
    await forEachAtOnce(offered, limits.repliesFetchedAtOnce, async (reply, failed) => {
      await take(reply, AbortSignal.any([signal, failed]))
      this.#open.delete(reply.metadata.replyToMessageId)
      this.#late.delete(reply.metadata.replyToMessageId)
    })
    // Not all replies that were there may have had room.
    const bytes = response.objects.reduce((sum, { length }) => sum + length, 0)
    return { waited: response.waited, isCut: objectsBytesMax > 0 && bytes > objectsBytesMax / 2 }
  }

  async #release(messageId: string): Promise<void> {
    await this.#confirmations.confirm(messageId)
    this.#forgetHeld(messageId)
  }

  #forgetHeld(messageId: string): void {
    const { bytesAtHand = 0 } = this.#held.get(messageId) ?? {}
    this.#heldBytes -= bytesAtHand
    this.#held.delete(messageId)
  }

  #taking(signal: AbortSignal) {
    return { route: this.#route(), confirm: (id: string) => this.#confirmations.confirm(id), signal }
  }

  #route() {
    return { api: this.#api, nodeId: superlinkNodeId, runId: this.runId }
  }
}
