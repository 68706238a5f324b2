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
    return (await this.#pull([...messageIds], options.waitMs ?? 0)).replies
  }

  async sendAndReceive(messages: Iterable<Message>, options: { timeoutSeconds?: number } = {}): Promise<Message[]> {
    const endsAt = systemClock.now() + (options.timeoutSeconds ?? Number.POSITIVE_INFINITY) * 1000
    const open = new Set((await this.pushMessages(messages)).filter((id) => id !== undefined))
    const received: Message[] = []
    while (open.size > 0 && systemClock.now() < endsAt) {
      const restMs = endsAt - systemClock.now()
      const { replies, waited } = await this.#pull([...open], Math.min(waitMs, restMs))
      for (const reply of replies) open.delete(reply.metadata.replyToMessageId)
      received.push(...replies)
      const pauseMs = waited ? gatherMs(open.size) : pollMs
      if (open.size > 0) await systemClock.sleep(Math.min(pauseMs, restMs), this.#api.signal)
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

  async #pull(messageIds: string[], holdMs: number): Promise<{ replies: Message[]; waited: boolean }> {
    if (messageIds.length === 0) return { replies: [], waited: false }
    const { messageObjectTrees, messagesList, waited } = await this.#api.pullMessages(messageIds, { waitMs: holdMs })
    const replies: Message[] = []
    for (const tree of messageObjectTrees) {
      const wire = messagesList.find(({ metadata }) => metadata?.messageId === tree.objectId)
      const replyTo = wire?.metadata?.replyToMessageId ?? ''
      replies.push(await this.#fetch(tree, replyTo))
      this.#open.delete(replyTo)
    }
    return { replies, waited }
  }

  /** A reply whose objects are gone, or do not fit together, becomes an error reply: one node must not fail the run. */
  async #fetch(tree: ObjectTree, replyToMessageId: string): Promise<Message> {
    try {
      return await fetchMessage(this.#route(), tree)
    } catch (error) {
      if (error instanceof RpcError || this.#api.signal.aborted) throw error
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
