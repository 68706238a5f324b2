import type { TaskApi } from '../app-api/task-api.ts'
import { isoTimestamp, systemClock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import { superlinkNodeId } from '../base/ids.ts'
import type { ObjectTree } from '../gen/flwr/proto/message_pb.ts'
import { deflateMessage } from '../message/deflate.ts'
import { errorCodes, Message, type Metadata } from '../message/message.ts'
import { ObjectsUnavailableError } from '../objects/transfer.ts'
import { RpcError } from '../rpc/channel.ts'
import type { Grid, Progress } from '../sdk/grid.ts'
import { fetchMessage, sendMessages } from './task-messages.ts'

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
  #events: Promise<void> = Promise.resolve()

  constructor(api: TaskApi, run: { runId: bigint; taskId: bigint | undefined }) {
    this.#api = api
    this.runId = run.runId
    this.#taskId = run.taskId
  }

  getNodeIds(options?: { knownNodes?: number }): Promise<bigint[]> {
    return this.#api.getNodeIds(options)
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
    messageIds: Iterable<string> = this.#open,
    options: { waitMs?: number; signal?: AbortSignal } = {},
  ): Promise<Message[]> {
    options.signal?.throwIfAborted()
    const replies: Message[] = []
    try {
      await this.#pull([...messageIds], { holdMs: options.waitMs ?? 0, signal: options.signal }, (reply) =>
        replies.push(reply),
      )
    } catch (error) {
      // What has been fetched is not handed out again.
      if (!options.signal?.aborted || replies.length === 0) throw error
    }
    return replies
  }

  async sendAndReceive(messages: Iterable<Message>, options: { timeoutSeconds?: number } = {}): Promise<Message[]> {
    const timeoutMs = (options.timeoutSeconds ?? Number.POSITIVE_INFINITY) * 1000
    const endsAt = systemClock.now() + timeoutMs
    // The server ends a held call in time; this is for transfers, and for a server that is away.
    const signal = AbortSignal.timeout(Math.min(timeoutMs + graceMs, timerMsMax))
    const open = new Set((await this.pushMessages(messages)).filter((id) => id !== undefined))
    const received: Message[] = []
    const take = (reply: Message): void => {
      open.delete(reply.metadata.replyToMessageId)
      received.push(reply)
    }
    try {
      while (open.size > 0 && systemClock.now() < endsAt) {
        const restMs = endsAt - systemClock.now()
        const { waited } = await this.#pull([...open], { holdMs: Math.min(waitMs, restMs), signal }, take)
        const pauseMs = waited ? gatherMs(open.size) : pollMs
        if (open.size > 0) await systemClock.sleep(Math.min(pauseMs, restMs), this.#api.signal)
      }
    } catch (error) {
      if (this.#api.signal.aborted || systemClock.now() < endsAt) throw error
    }
    return received
  }

  reportProgress(progress: Progress): void {
    const event = {
      timestamp: isoTimestamp(systemClock.now()),
      event: 'trellis.progress',
      data: JSON.stringify(progress),
    }
    // In order, and never in the way of the run.
    this.#events = this.#events.then(() => this.#api.pushEvent(event)).catch(() => {})
  }

  /** Resolves when everything that was reported has been sent. */
  async flush(): Promise<void> {
    await this.#events
  }

  async #pull(
    messageIds: string[],
    { holdMs, signal = this.#api.signal }: { holdMs: number; signal: AbortSignal | undefined },
    take: (reply: Message) => void,
  ): Promise<{ waited: boolean }> {
    if (messageIds.length === 0) return { waited: false }
    const options = { waitMs: holdMs, signal }
    const { messageObjectTrees, messagesList, waited } = await this.#api.pullMessages(messageIds, options)
    for (const tree of messageObjectTrees) {
      const wire = messagesList.find(({ metadata }) => metadata?.messageId === tree.objectId)
      const replyTo = wire?.metadata?.replyToMessageId ?? ''
      take(await this.#fetch(tree, replyTo, signal))
      this.#open.delete(replyTo)
    }
    return { waited }
  }

  /** A reply whose objects are gone, or do not fit together, becomes an error reply: one node must not fail the run. */
  async #fetch(tree: ObjectTree, replyToMessageId: string, signal: AbortSignal): Promise<Message> {
    try {
      return await fetchMessage(this.#route(), tree, signal)
    } catch (error) {
      if (error instanceof RpcError || signal.aborted || this.#api.signal.aborted) throw error
      const gone = error instanceof ObjectsUnavailableError
      const reason = gone ? 'Reply message objects are unavailable.' : 'The reply message cannot be read.'
      const metadata: Metadata = {
        runId: this.runId,
        messageId: tree.objectId,
        srcNodeId: superlinkNodeId,
        dstNodeId: superlinkNodeId,
        replyToMessageId,
        groupId: '',
        ttl: 0,
        messageType: 'system',
        createdAt: systemClock.now() / 1000,
      }
      return new Message(metadata, {
        error: { code: errorCodes.messageUnavailable, reason: `${reason} ${errorText(error)}` },
      })
    }
  }

  #route() {
    return { api: this.#api, nodeId: superlinkNodeId, runId: this.runId }
  }
}
