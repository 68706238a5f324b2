import type { Clock } from '../base/clock.ts'
import type { Context } from '../message/context.ts'
import type { Message } from '../message/message.ts'
import type { HeldReply } from './held-reply.ts'

/** A SuperNode as the SuperLink knows it. SuperLinks of Flower tell less: there, names and tags can be absent. */
export interface NodeInfo {
  readonly nodeId: bigint
  /** What it is called: the name that operators gave it, or that of its certificate. */
  readonly name: string | undefined
  /** The name in its certificate. */
  readonly identity: string | undefined
  readonly organization: string | undefined
  /** Of its certificate, and of `flower-supernode --tag`. */
  readonly tags: Readonly<Record<string, string>>
  /** `online` for all that `getNodes` returns. */
  readonly status: string
  /**
   * The last heartbeat, in epoch milliseconds. After a start of the SuperLink, or a time in which its disk was full, it is that
   * instant until the node sends the next heartbeat.
   */
  readonly lastSeenAt: number | undefined
}

/** A reply that came after the wait for it had ended, and was dropped. */
export interface LateReply {
  readonly nodeId: bigint
  readonly messageType: string
}

/** How long to wait for replies. */
export interface WaitOptions {
  readonly timeoutSeconds?: number
  /** The wait ends when that many replies without an error are there. */
  readonly enough?: number
}

/**
 * What a ServerApp sends messages with and gets replies from. Node and message ids are those of the SuperLink; the grid
 * fills in run and sender of each message.
 */
export interface Grid {
  readonly runId: bigint
  /** The time by which replies are waited for, if that is not the time of this machine. */
  readonly clock?: Clock
  /**
   * The SuperNodes that are online now. With `knownNodes`, waits a while for their number to be another one; it may answer
   * before that.
   */
  getNodeIds(options?: { knownNodes?: number }): Promise<bigint[]>
  /**
   * As {@link Grid.getNodeIds}, with what is known of each SuperNode.
   *
   * @example
   * const inEurope = (await grid.getNodes()).filter(({ tags }) => tags.region === 'eu')
   */
  getNodes(options?: { knownNodes?: number }): Promise<NodeInfo[]>
  /** Returns the ids of the messages in their order, `undefined` if a node was refused (unknown or unregistered). */
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
   * node that fails or goes away replies with one.
   *
   * @example
   * const replies = await grid.sendAndReceive(messages, { timeoutSeconds: 600 })
   */
  sendAndReceive(messages: Iterable<Message>, options?: WaitOptions): Promise<Message[]>
  /**
   * As {@link Grid.sendAndReceive}, but leaves the arrays of the replies where they arrived until each reply is loaded, so
   * that not all have to be in memory. Optional: without it, strategies receive all replies at once.
   */
  sendAndHold?(messages: Iterable<Message>, options?: WaitOptions): Promise<HeldReply[]>
  /**
   * Drops the replies that have arrived after {@link Grid.sendAndReceive} or {@link Grid.sendAndHold} had ended their wait,
   * without fetching their arrays, and returns from which nodes they were. Optional: without it they are never looked at.
   */
  dropLateReplies?(): Promise<LateReply[]>
  /**
   * Keeps `context.state` at the SuperLink. A ServerApp that saves it starts again if its process is lost, with the state
   * that it saved last: also on another machine, and with `flwr run --resume` after a failure. The last two are kept, of
   * 2 GiB at most. Elsewhere than at a SuperLink of Trellis it does nothing.
   *
   * @example
   * const saved = context.state.has('arrays') ? context.state.arrays('arrays') : initialArrays
   * // ... a round
   * context.state.set('arrays', arrays)
   * await grid.saveState(context)
   */
  saveState(context: Context): Promise<void>
  /**
   * Tells the followers of the run (`flwr run --stream`, the dashboard) how far it is. Never fails the run. A stream that is
   * not a terminal shows the log only: also print what belongs there.
   */
  reportProgress(progress: Progress): void
}

/** How far a run is, for the programs that follow it. */
export interface Progress {
  /** From 1. */
  readonly round: number
  readonly rounds: number
  readonly phase: 'configure' | 'train' | 'evaluate' | 'round-end'
  readonly metrics?: Readonly<Record<string, number>>
}
