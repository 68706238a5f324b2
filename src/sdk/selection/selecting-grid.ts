import type { Context } from '../../message/context.ts'
import type { Message } from '../../message/message.ts'
import type { Grid, LateReply, NodeInfo, Progress, WaitOptions } from '../grid.ts'
import { type HeldReply, heldInMemory } from '../held-reply.ts'
import type { NodeHistory } from './node-history.ts'
import type { Selected, SelectNodes } from './selection.ts'

/** The nodes that are online, and those among them that the policy chooses. */
export interface Candidates {
  readonly online: number
  readonly chosen: bigint[]
}

/** With over-selection, a round that cannot do without some number of replies waits for as many. */
export function waitForThreshold(grid: Grid, threshold: number): void {
  if (grid instanceof SelectingGrid && grid.enough !== undefined) grid.enough = Math.max(grid.enough, threshold)
}

/** The grid as a strategy sees it while it sends the messages of a round: with the nodes that the policy chooses. */
export class SelectingGrid implements Grid {
  readonly runId: bigint
  readonly #grid: Grid
  readonly #select: (nodes: readonly NodeInfo[]) => Selected
  readonly #history: NodeHistory
  /** How many replies are enough, as the policy said last. */
  enough: number | undefined

  constructor(grid: Grid, select: SelectNodes, { round, history }: { round: number; history: NodeHistory }) {
    this.runId = grid.runId
    this.#grid = grid
    this.#history = history
    this.#select = (nodes) => select(nodes, round, history)
  }

  /** `needed` is how many nodes the caller cannot do without. */
  async candidates({ needed = 1, ...options }: { knownNodes?: number; needed?: number } = {}): Promise<Candidates> {
    const online = await this.#grid.getNodes(options)
    this.#history.needed = needed
    const selected = this.#select(online)
    this.enough = selected.enough
    return { online: online.length, chosen: selected.map(({ nodeId }) => nodeId) }
  }

  async getNodes(options?: { knownNodes?: number }): Promise<NodeInfo[]> {
    const selected = this.#select(await this.#grid.getNodes(options))
    this.enough = selected.enough
    return [...selected]
  }

  async getNodeIds(options?: { knownNodes?: number }): Promise<bigint[]> {
    return (await this.candidates(options)).chosen
  }

  pushMessages(messages: Iterable<Message>): Promise<(string | undefined)[]> {
    return this.#grid.pushMessages(messages)
  }

  pullMessages(ids?: Iterable<string>, options?: { waitMs?: number; signal?: AbortSignal }): Promise<Message[]> {
    return this.#grid.pullMessages(ids, options)
  }

  sendAndReceive(messages: Iterable<Message>, options?: WaitOptions): Promise<Message[]> {
    return this.#grid.sendAndReceive(messages, options)
  }

  async sendAndHold(messages: Iterable<Message>, options?: WaitOptions): Promise<HeldReply[]> {
    if (this.#grid.sendAndHold) return this.#grid.sendAndHold(messages, options)
    return (await this.#grid.sendAndReceive(messages, options)).map(heldInMemory)
  }

  async dropLateReplies(): Promise<LateReply[]> {
    return (await this.#grid.dropLateReplies?.()) ?? []
  }

  saveState(context: Context): Promise<void> {
    return this.#grid.saveState(context)
  }

  reportProgress(progress: Progress): void {
    this.#grid.reportProgress(progress)
  }
}
