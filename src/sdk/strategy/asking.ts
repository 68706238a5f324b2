import type { Clock } from '../../base/clock.ts'
import { Message, type MessageError } from '../../message/message.ts'
import { MetricRecord } from '../../message/records.ts'
import type { Grid, LateReply, NodeInfo } from '../grid.ts'
import { type HeldReply, heldInMemory } from '../held-reply.ts'
import { log } from '../log.ts'
import type { NodeHistory } from '../selection/node-history.ts'
import { missingReplies } from './replies.ts'
import type { RoundBounds } from './start-options.ts'

/** After that many rounds in a row without a reply a node is named, and again after twice as many. */
const lateRoundsNamed = 3

/** The replies of a phase were fewer than it needs: the phase has no result. */
export class TooFewRepliesError extends Error {
  override readonly name = 'TooFewRepliesError'
}

/** A question of one phase to some nodes. */
export interface Question {
  readonly round: number
  readonly phase: 'train' | 'evaluate'
  readonly messages: readonly Message[]
  /** How many replies without an error end the wait. */
  readonly enough: number | undefined
}

/**
 * Sends the messages of a phase and waits for replies until the deadline, or until enough are there. Drops replies that
 * came after the deadline of a former phase, and keeps account of which nodes are late.
 */
export class Asking {
  readonly #grid: Grid
  readonly #bounds: RoundBounds
  readonly #history: NodeHistory
  readonly #clock: Clock
  readonly #names = new Map<bigint, string>()
  /** The rounds to which a node owes a reply, oldest first. */
  readonly #owed = new Map<bigint, number[]>()

  constructor(grid: Grid, bounds: RoundBounds, { history, clock }: { history: NodeHistory; clock: Clock }) {
    this.#grid = grid
    this.#bounds = bounds
    this.#history = history
    this.#clock = clock
  }

  /** Remembers what nodes are called, for the log. */
  name(nodes: readonly NodeInfo[]): void {
    for (const { nodeId, name } of nodes) if (name !== undefined) this.#names.set(nodeId, name)
  }

  /** Throws a {@link TooFewRepliesError} if fewer replies without an error came than are needed. */
  async ask(question: Question): Promise<HeldReply[]> {
    const { round, phase, messages, enough } = question
    if (messages.length === 0) return []
    await this.dropLate()
    const { timeoutSeconds } = this.#bounds
    const askedAt = this.#clock.now()
    const wait = { timeoutSeconds, ...(enough === undefined ? {} : { enough }) }
    const replies = await this.#named(await this.#send(phase, messages, wait))
    this.#account(question, replies, askedAt)
    const succeeded = replies.filter(({ error }) => error === undefined).length
    const missing = missingReplies(messages, replies, this.#names)
    if (missing && enough !== undefined && succeeded >= enough)
      log.info(`\t> Enough replies (${succeeded}). ${missing}`)
    else if (missing) log.warn(`\t> ${missing} within ${timeoutSeconds} s`)
    const needed = this.#bounds.minReplies(Math.min(enough ?? messages.length, messages.length))
    if (succeeded >= needed) return replies
    for (const reply of replies) await reply.release()
    throw new TooFewRepliesError(
      `Round ${round}: ${succeeded} of at least ${needed} replies came within ${timeoutSeconds} s, so ${phase === 'train' ? 'the model stays as it was' : 'the evaluation has no result'}.`,
    )
  }

  /** Errors say which node they are of by name, if it has one. */
  async #named(replies: readonly HeldReply[]): Promise<HeldReply[]> {
    const isUnknown = ({ error, metadata }: HeldReply): boolean => !!error && !this.#names.has(metadata.srcNodeId)
    if (replies.some(isUnknown)) this.name(await this.#grid.getNodes())
    return replies.map((reply) => {
      const name = this.#names.get(reply.metadata.srcNodeId)
      return reply.error && name !== undefined ? withNodeName(reply, reply.error, name) : reply
    })
  }

  /** Drops the replies that have arrived since the last phase. */
  async dropLate(): Promise<void> {
    if (this.#owed.size === 0) return
    for (const late of (await this.#grid.dropLateReplies?.()) ?? []) this.#drop(late)
  }

  #drop({ nodeId, messageType }: LateReply): void {
    const rounds = this.#owed.get(nodeId) ?? []
    const round = rounds.shift()
    if (rounds.length === 0) this.#owed.delete(nodeId)
    log.info(`\t> Dropped a late reply of node ${this.#called(nodeId)} (${messageType}, round ${round ?? 'unknown'})`)
  }

  /** Arrays of evaluations are not looked at, so that those replies need not be held. */
  async #send(
    phase: 'train' | 'evaluate',
    messages: readonly Message[],
    wait: { timeoutSeconds: number; enough?: number },
  ): Promise<HeldReply[]> {
    if (phase === 'train' && this.#grid.sendAndHold) return this.#grid.sendAndHold(messages, wait)
    return (await this.#grid.sendAndReceive(messages, wait)).map(heldInMemory)
  }

  #account({ round, phase, messages, enough }: Question, replies: readonly HeldReply[], askedAt: number): void {
    const endedAt = this.#clock.now()
    const arrived = new Map(replies.map((reply) => [reply.metadata.srcNodeId, reply]))
    const isComplete = enough !== undefined && replies.filter(({ error }) => !error).length >= enough
    for (const { metadata } of messages) {
      const nodeId = metadata.dstNodeId
      const reply = arrived.get(nodeId)
      if (phase === 'train') this.#history.asked(nodeId, round)
      if (!reply) {
        const owed = this.#owed.get(nodeId) ?? []
        this.#owed.set(nodeId, [...owed, round])
        // A node that was asked in reserve and is not needed is not late.
        if (phase === 'train' && !isComplete) this.#warnOfLate(nodeId, this.#history.late(nodeId))
      } else if (phase === 'train') {
        const [metrics] = [...reply.outline.values()].filter((record) => record instanceof MetricRecord)
        const seconds = ((reply.arrivedAt ?? endedAt) - askedAt) / 1000
        this.#history.replied(nodeId, { failed: reply.error !== undefined, seconds, metrics })
      }
    }
  }

  #warnOfLate(nodeId: bigint, rounds: number): void {
    const times = rounds / lateRoundsNamed
    if (!Number.isInteger(Math.log2(times))) return
    log.warn(
      `\t> Node ${this.#called(nodeId)} was late in ${rounds} rounds in a row: leave it out with select, or allow more time with roundDeadline or timeout.`,
    )
  }

  #called(nodeId: bigint): string {
    const name = this.#names.get(nodeId)
    return name === undefined ? String(nodeId) : `${nodeId} (${name})`
  }
}

/** Adds the name of a node behind the reason of its error, or to the place in brackets at its end. */
export function reasonAt(reason: string, nodeName: string): string {
  const [, text, place] = /^([\s\S]*) \(([^()]+:\d+:\d+)\)$/.exec(reason) ?? []
  return place === undefined ? `${reason} (node ${nodeName})` : `${text} (${place}, node ${nodeName})`
}

function withNodeName(held: HeldReply, { code, reason }: MessageError, name: string): HeldReply {
  const error = { code, reason: reasonAt(reason, name) }
  return {
    metadata: held.metadata,
    error,
    ...(held.arrivedAt === undefined ? {} : { arrivedAt: held.arrivedAt }),
    outline: held.outline,
    load: async () => new Message(held.metadata, { error }),
    pieces: (signal) => held.pieces(signal),
    release: () => held.release(),
  }
}
