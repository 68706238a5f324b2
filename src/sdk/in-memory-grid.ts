import { type Clock, systemClock } from '../base/clock.ts'
import { errorText, UsageError } from '../base/errors.ts'
import { superlinkNodeId } from '../base/ids.ts'
import type { UserConfig } from '../base/user-config.ts'
import { type Context, createContext } from '../message/context.ts'
import { deflateMessage } from '../message/deflate.ts'
import { inflateMessage } from '../message/inflate.ts'
import { errorCodes, type Message } from '../message/message.ts'
import type { RecordDict } from '../message/records.ts'
import { contextFromWire, contextToWire } from '../message/wire.ts'
import type { ClientApp } from './client-app.ts'
import type { Grid, LateReply, NodeInfo, Progress, WaitOptions } from './grid.ts'
import { type HeldReply, heldInMemory } from './held-reply.ts'
import { type CheckedFaults, checkedFaults, type NodeFaults } from './in-memory-faults.ts'
import { type Arrival, Arrivals, VirtualClock } from './in-memory-time.ts'
import { seededRandom } from './seeded-random.ts'
import type { ServerApp } from './server-app.ts'

/** A node of an {@link InMemoryGrid}. */
export interface InMemoryNode {
  readonly app: ClientApp
  /** As `--node-config` of a SuperNode. */
  readonly nodeConfig?: UserConfig
  /** By default `node-2` for the node with the id 2, and so on. */
  readonly name?: string
  /** As `--tag` of a SuperNode. */
  readonly tags?: Readonly<Record<string, string>>
}

/** How an {@link InMemoryGrid} works, and what goes wrong in it. */
export interface InMemoryGridOptions {
  readonly runConfig?: UserConfig
  /**
   * With `virtual` no time is waited: the clock jumps to the next reply or to the end of the wait, so that a round with
   * deadlines of hours takes milliseconds. By default `system`, the time of this machine.
   */
  readonly clock?: 'system' | 'virtual'
  /** What goes wrong, by the name of the node. */
  readonly faults?: Readonly<Record<string, NodeFaults>>
  /** Hands out the replies that have arrived in another order than they arrived in. */
  readonly reorder?: boolean
  /** Decides which messages are dropped, and the order of replies; by default 1. */
  readonly seed?: number
}

interface Member {
  readonly app: ClientApp
  readonly context: Context
  readonly info: Pick<NodeInfo, 'name' | 'tags'>
  readonly faults: CheckedFaults
}

/**
 * A Grid whose nodes live in this process, for tests of apps: no SuperLink, no certificates, no waiting. Messages are
 * written and read as on the wire, and a node that throws replies with an error. Replies can be late, lost, or out of order.
 *
 * @example
 * const nodes = [0n, 1n, 2n].map((partition) => ({ app: clientApp, nodeConfig: { partition } }))
 * const grid = new InMemoryGrid(nodes, { runConfig: { lr: 0.1 } })
 * const result = await new FedAvg().start(grid, initialArrays, { numRounds: 2 })
 *
 * @example
 * const faults = { 'node-3': { delay: '2h' }, 'node-5': { drop: 0.5 } }
 * const slow = new InMemoryGrid(nodes, { clock: 'virtual', faults, seed: 1 })
 */
export class InMemoryGrid implements Grid {
  readonly runId = 1n
  readonly clock: Clock
  /** Everything that was reported, oldest first. */
  readonly progress: Progress[] = []
  /** The state that was saved last. */
  saved: RecordDict | undefined
  /** Everything that was sent, oldest first. */
  readonly sent: Message[] = []
  readonly #nodes: ReadonlyMap<bigint, Member>
  readonly #runConfig: UserConfig
  readonly #startedAt: number
  readonly #random: () => number
  readonly #arrivals: Arrivals
  /** Messages whose replies were waited for in vain. */
  readonly #late = new Set<string>()

  /** The nodes get the ids 2, 3, and so on. Throws a UsageError for faults of nodes that do not exist. */
  constructor(nodes: readonly InMemoryNode[], options: InMemoryGridOptions = {}) {
    const { runConfig = {}, clock = 'system', faults = {}, reorder = false, seed = 1 } = options
    this.#runConfig = runConfig
    this.clock = clock === 'virtual' ? new VirtualClock() : systemClock
    this.#startedAt = this.clock.now()
    this.#random = seededRandom(seed)
    this.#arrivals = new Arrivals(this.clock, reorder ? this.#random : undefined)
    this.#nodes = new Map(
      nodes.map(({ app, nodeConfig = {}, tags = {}, ...rest }, index) => {
        const nodeId = superlinkNodeId + 1n + BigInt(index)
        const name = rest.name ?? `node-${nodeId}`
        const context = createContext({ runId: this.runId, nodeId, nodeConfig, runConfig })
        return [nodeId, { app, context, info: { name, tags }, faults: checkedFaults(name, faults[name]) }] as const
      }),
    )
    const names = [...this.#nodes.values()].map(({ info }) => info.name as string)
    const unknown = Object.keys(faults).find((name) => !names.includes(name))
    if (unknown !== undefined)
      throw new UsageError(`InMemoryGrid: there is no node '${unknown}' among: ${names.join(', ') || 'none at all'}.`)
  }

  /**
   * Runs a ServerApp on this grid, with the configuration of the run, to its end. Rejects with what the app throws. Returns
   * the app's context, whose state may be checked; give one to start from a state.
   *
   * @example
   * await grid.run(serverApp)
   * assert.equal(grid.progress.at(-1)?.phase, 'round-end')
   */
  async run(app: ServerApp, context: Context = createContext({ runConfig: this.#runConfig })): Promise<Context> {
    await app.run(this, context)
    return context
  }

  async getNodeIds(): Promise<bigint[]> {
    return (await this.getNodes()).map(({ nodeId }) => nodeId)
  }

  async getNodes(): Promise<NodeInfo[]> {
    const lastSeenAt = this.clock.now()
    return [...this.#nodes]
      .filter(([, { faults }]) => this.#leavesAt(faults) > lastSeenAt)
      .map(([nodeId, { info }]) => ({
        nodeId,
        ...info,
        identity: undefined,
        organization: undefined,
        status: 'online',
        lastSeenAt,
      }))
  }

  async pushMessages(messages: Iterable<Message>): Promise<(string | undefined)[]> {
    return [...messages].map((message) => {
      const node = this.#nodes.get(message.metadata.dstNodeId)
      if (!node) return undefined
      const asked = overTheWire(message, { runId: this.runId, srcNodeId: superlinkNodeId })
      this.sent.push(asked)
      this.#arrivals.add(asked.metadata.messageId, this.#arrivalOf(node, asked))
      return asked.metadata.messageId
    })
  }

  async pullMessages(
    messageIds: Iterable<string> = this.#arrivals.openIds,
    options: { waitMs?: number; signal?: AbortSignal } = {},
  ): Promise<Message[]> {
    const ids = [...messageIds]
    if (options.waitMs) await this.#arrivals.wait(ids, { ms: options.waitMs, enough: 1, signal: options.signal })
    return this.#arrivals.take(ids).map(({ reply }) => reply)
  }

  async sendAndReceive(messages: Iterable<Message>, options: WaitOptions = {}): Promise<Message[]> {
    return (await this.#sendAndAwait(messages, options)).map(({ reply }) => reply)
  }

  async sendAndHold(messages: Iterable<Message>, options: WaitOptions = {}): Promise<HeldReply[]> {
    return (await this.#sendAndAwait(messages, options)).map(({ reply, at }) => ({
      ...heldInMemory(reply),
      arrivedAt: at,
    }))
  }

  async dropLateReplies(): Promise<LateReply[]> {
    const dropped = this.#arrivals.take([...this.#late])
    return dropped.map(({ reply: { metadata } }) => {
      this.#late.delete(metadata.replyToMessageId)
      return { nodeId: metadata.srcNodeId, messageType: metadata.messageType }
    })
  }

  /** A later test can start from `saved`. */
  async saveState(context: Context): Promise<void> {
    this.saved = contextFromWire(contextToWire(context)).state
  }

  reportProgress(progress: Progress): void {
    this.progress.push(progress)
  }

  async #sendAndAwait(messages: Iterable<Message>, { timeoutSeconds, enough }: WaitOptions): Promise<Arrival[]> {
    const ids = (await this.pushMessages(messages)).filter((id) => id !== undefined)
    const ms = timeoutSeconds === undefined ? Number.POSITIVE_INFINITY : timeoutSeconds * 1000
    await this.#arrivals.wait(ids, { ms, enough: enough ?? Number.POSITIVE_INFINITY, ignoresErrors: true })
    const arrived = this.#arrivals.take(ids)
    for (const id of ids) this.#late.add(id)
    for (const { reply } of arrived) this.#late.delete(reply.metadata.replyToMessageId)
    return arrived
  }

  #leavesAt({ leavesAfterMs }: CheckedFaults): number {
    return this.#startedAt + leavesAfterMs
  }

  /** When the reply to a message comes, and which; `undefined` if it never comes. */
  async #arrivalOf({ app, context, faults }: Member, asked: Message): Promise<Arrival | undefined> {
    const askedAt = this.clock.now()
    const leavesAt = this.#leavesAt(faults)
    const isLost = faults.drop > 0 && this.#random() < faults.drop
    const at = askedAt + faults.delayMs()
    if (at >= leavesAt) {
      const error = { code: errorCodes.nodeUnavailable, reason: 'Node Unavailable - Destination node unavailable.' }
      return { at: Math.max(askedAt, leavesAt), reply: overTheWire(asked.replyError(error)) }
    }
    const reply = await answer(app, asked, context)
    return isLost ? undefined : { at, reply }
  }
}

/** The message as its receiver would have it. */
function overTheWire(message: Message, metadata: Partial<Message['metadata']> = {}): Message {
  const { messageId, objects } = deflateMessage(message, { ...message.metadata, ...metadata })
  return inflateMessage(messageId, (id) => (objects.get(id) as () => Uint8Array)())
}

async function answer(app: ClientApp, message: Message, context: Context): Promise<Message> {
  try {
    return overTheWire(await app.handle(message, context))
  } catch (error) {
    return overTheWire(message.replyError({ code: errorCodes.clientAppRaisedException, reason: errorText(error) }))
  }
}
