import type { Context } from '../message/context.ts'
import type { Message } from '../message/message.ts'
import type { HeldReply } from './held-reply.ts'

/**
 * What a ServerApp sends messages with and gets replies from. Node and message ids are those of the SuperLink; the grid
 * fills in run and sender of each message.
 */
export interface Grid {
  readonly runId: bigint
  /**
   * The SuperNodes that are online now. With `knownNodes`, waits a while for their number to be another one; it may answer
   * before that.
   */
  getNodeIds(options?: { knownNodes?: number }): Promise<bigint[]>
  /** Answers the ids of the messages in their order, `undefined` where a node was refused (unknown or unregistered). */
  pushMessages(messages: Iterable<Message>): Promise<(string | undefined)[]>
  /**
   * Returns the replies that have arrived, each once; waits up to `waitMs` for at least one. Without `messageIds` it returns
   * every message to this app: replies to any message that this grid has sent, and messages that a SuperNode has sent unasked,
   * whose `replyToMessageId` is empty. (SuperLinks of Flower up to 1.42 have none of those.)
   *
   * @example
   * await grid.pushMessages(messages)
   * for (const reply of await grid.pullMessages(undefined, { waitMs: 10_000 })) aggregate(reply)
   */
  pullMessages(messageIds?: Iterable<string>, options?: { waitMs?: number; signal?: AbortSignal }): Promise<Message[]>
  /**
   * Sends messages and waits until each has its reply, or until `timeoutSeconds` have passed. Error replies count: a
   * node that fails or goes away answers with one.
   *
   * @example
   * const replies = await grid.sendAndReceive(messages, { timeoutSeconds: 600 })
   */
  sendAndReceive(messages: Iterable<Message>, options?: { timeoutSeconds?: number }): Promise<Message[]>
  /**
   * As {@link Grid.sendAndReceive}, but leaves the arrays of the replies where they arrived until each reply is loaded, so
   * that not all have to be in memory. Optional: without it, strategies receive all replies at once.
   */
  sendAndHold?(messages: Iterable<Message>, options?: { timeoutSeconds?: number }): Promise<HeldReply[]>
  /**
   * Keeps `context.state` at the SuperLink. A ServerApp that saves it starts again if its process is lost, with the state
   * that it saved last: also on another machine, and with `flwr run --resume` after a failure. The last two are kept, of
   * 63 MiB at most with the app itself. Elsewhere than at a SuperLink of Trellis it does nothing.
   *
   * @example
   * const saved = context.state.has('arrays') ? context.state.arrays('arrays') : initialArrays
   * // ... a round
   * context.state.set('arrays', arrays)
   * await grid.saveState(context)
   */
  saveState(context: Context): Promise<void>
  /** Tells whoever watches the run (`flwr run --stream`) how far it is. Never fails the run. */
  reportProgress(progress: Progress): void
}

export interface Progress {
  /** From 1. */
  readonly round: number
  readonly rounds: number
  readonly phase: 'configure' | 'train' | 'evaluate' | 'round-end'
  readonly metrics?: Readonly<Record<string, number>>
}
