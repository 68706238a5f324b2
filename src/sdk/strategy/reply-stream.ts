import { loadAhead } from '../../base/ahead.ts'
import { forEachAtOnce } from '../../base/at-once.ts'
import { LentMemory } from '../../base/lent-memory.ts'
import { limits } from '../../base/limits.ts'
import type { Message } from '../../message/message.ts'
import type { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { type HeldReply, heldInMemory, LostReplyError, piecesOf } from '../held-reply.ts'
import { PiecesOfReply } from './pieces-of-reply.ts'
import { inNodeOrder, onlyRecords, successesOf, weightIn } from './replies.ts'
import { meanOfMetrics, sharesOf, type WeightedMetrics } from './weighted-mean.ts'
import { WeightedSum } from './weighted-sum.ts'

/**
 * The replies to a phase of training, in the order of their nodes. They are fetched when the loop asks for them, a few
 * ahead, and each can be let go when the next is asked for: so a model of any size is aggregated in the memory of a few.
 * Error replies are among them. The replies can be gone through more than once.
 *
 * @example
 * for await (const reply of replies) if (!reply.hasError()) look(reply.content.arrays('arrays'))
 */
export class Replies implements AsyncIterable<Message> {
  readonly #held: readonly HeldReply[]

  /** @internal */
  constructor(held: Iterable<HeldReply>) {
    this.#held = inNodeOrder(held)
  }

  /**
   * Replies that are in memory already, e.g. in a test.
   *
   * @example
   * await strategy.aggregateTrain({ round: 1, replies: Replies.of(messages), current })
   */
  static of(messages: Iterable<Message>): Replies {
    return new Replies([...messages].map(heldInMemory))
  }

  get size(): number {
    return this.#held.length
  }

  /** What is known of each reply before its arrays are fetched: its sender, its error, its metrics and names. */
  get outlines(): readonly Pick<HeldReply, 'metadata' | 'error' | 'outline'>[] {
    return this.#held
  }

  /** How many replies carry an error, as far as that is known before their arrays are fetched. */
  get failures(): number {
    return this.#held.filter(({ error }) => error !== undefined).length
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    return loadAhead(this.#held, (reply, signal) => reply.load(signal), limits.repliesAhead)
  }

  /**
   * The same replies, each changed when it is fetched, for strategies that wrap another one. `change` is not called for
   * error replies, and must keep the names of records and arrays, and the metrics.
   *
   * @example
   * return this.inner.aggregateTrain({ ...phase, replies: phase.replies.map((reply) => clipped(reply, phase.current)) })
   */
  map(change: (reply: Message) => Message | Promise<Message>): Replies {
    return new Replies(this.#held.map((held) => changed(held, change)))
  }

  /**
   * Returns what `aggregate` makes of the replies, and then releases them: until then a reply that is lost at the SuperLink
   * can be left out. `aggregate` is called again in that case, with an error in the place of that reply.
   *
   * @example
   * const { arrays } = await (await ask(messages)).aggregated((replies) => this.aggregateTrain({ round, replies, current }))
   */
  async aggregated<T>(aggregate: (replies: Replies) => Promise<T>): Promise<T> {
    let held = this.#held
    for (;;) {
      try {
        const result = await aggregate(new Replies(held))
        await forEachAtOnce(held, limits.repliesFetchedAtOnce, (reply) => reply.release())
        return result
      } catch (error) {
        if (!(error instanceof LostReplyError)) throw error
        const lost = error
        held = held.map((reply) => (reply.metadata === lost.metadata ? heldInMemory(lost.reply) : reply))
      }
    }
  }

  /**
   * The replies without an error and their weights, which are the metric of that name. Logs, as Flower does, how many
   * there are and what the errors say. Throws an InconsistentRepliesError if names and keys of their records differ.
   *
   * @example
   * const sum = new WeightedSum()
   * for await (const { arrays, share } of replies.weightedBy('num-examples')) sum.add(arrays, share)
   * return { arrays: sum.mean() }
   */
  weightedBy(key: string): WeightedReplies {
    return new WeightedReplies(successesOf(this.#held, 'aggregate_train'), key)
  }
}

/** One reply of a round, with its share in the mean: its weight divided by the sum of all weights. */
export interface WeightedReply {
  readonly nodeId: bigint
  readonly content: RecordDict
  readonly arrays: ArrayRecord
  readonly metrics: MetricRecord
  readonly weight: number
  readonly share: number
}

/** The replies of {@link Replies.weightedBy}: their metrics are known, and their arrays are fetched one after the other. */
export class WeightedReplies implements AsyncIterable<WeightedReply> {
  readonly #held: readonly HeldReply[]
  readonly #key: string
  readonly #metrics: readonly WeightedMetrics[]
  readonly #shares: readonly number[]

  /** @internal */
  constructor(held: readonly HeldReply[], key: string) {
    const outlines = held.map(({ outline }) => outline)
    onlyRecords(outlines, 'ArrayRecord')
    this.#metrics = (onlyRecords(outlines, 'MetricRecord') as MetricRecord[]).map((metrics) => ({
      metrics,
      weight: weightIn(metrics, key),
    }))
    this.#held = held
    this.#key = key
    this.#shares = sharesOf(this.#metrics)
  }

  get size(): number {
    return this.#held.length
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WeightedReply, void, undefined> {
    const load = async (index: number, signal: AbortSignal): Promise<WeightedReply> => {
      const reply = await loadWhole(this.#held[index] as HeldReply, signal)
      const [arrays] = reply.content.arrayRecords.values()
      return {
        nodeId: reply.metadata.srcNodeId,
        content: reply.content,
        arrays: arrays as ArrayRecord,
        share: this.#shares[index] as number,
        ...(this.#metrics[index] as WeightedMetrics),
      }
    }
    yield* loadAhead(this.#held.keys(), load, limits.repliesAhead)
  }

  /** The weighted mean of the arrays: holds one sum, and beside it a few pieces of the replies. */
  async meanOfArrays(): Promise<ArrayRecord> {
    const sum = new WeightedSum()
    await this.addArrays(sum, this.#shares)
    return sum.mean()
  }

  /** @internal The mean of the arrays in which each reply counts the same. */
  async equalMeanOfArrays(): Promise<ArrayRecord> {
    const sum = new WeightedSum()
    await this.addArrays(sum, sharesOf(this.#held.map(() => ({ weight: 1 }))))
    return sum.mean()
  }

  /** @internal What is known of each reply before its arrays are fetched. */
  get known(): readonly Pick<WeightedReply, 'nodeId' | 'metrics' | 'share'>[] {
    return this.#held.map(({ metadata }, index) => ({
      nodeId: metadata.srcNodeId,
      metrics: (this.#metrics[index] as WeightedMetrics).metrics,
      share: this.#shares[index] as number,
    }))
  }

  /**
   * @internal Adds the arrays of each reply times a factor of its own. Several replies are added in step, so that each part of
   * the sum is read and written once for all of them.
   */
  async addArrays(sum: WeightedSum, factors: readonly number[]): Promise<void> {
    const inStep = this.#held.some(({ loadsWhole }) => loadsWhole) ? 1 : limits.repliesInStep
    const open = (indexes: readonly number[], signal: AbortSignal): Promise<PiecesOfReply[]> =>
      Promise.all(indexes.map((index) => this.#open(index, factors[index] as number, signal)))
    let names = sum.names
    for await (const replies of loadAhead(groupsOf(this.#held.length, inStep), open, groupsOpenAhead)) {
      names ??= replies[0]?.names ?? []
      const ahead = Math.ceil(limits.arrayPiecesAhead / replies.length)
      for (const reply of replies) reply.begin(names, { memory, ahead })
      try {
        for (const name of names) {
          const arrays = replies.map((reply) => reply.array(name))
          await sum.addArriving(name, arrays)
        }
      } finally {
        for (const reply of replies) reply.end()
      }
    }
  }

  async #open(index: number, factor: number, signal: AbortSignal): Promise<PiecesOfReply> {
    return new PiecesOfReply(await (this.#held[index] as HeldReply).pieces(signal), factor)
  }

  /** The weighted mean of the metrics, without the weight itself. */
  meanOfMetrics(): MetricRecord {
    return meanOfMetrics(this.#metrics, this.#key)
  }
}

/** Of pieces that are added to a mean. It stays for the next round: new memory costs more than the addition itself. */
const memory = new LentMemory()

/** The group that is added, and the next one, whose pieces are looked up meanwhile. */
const groupsOpenAhead = 2

/** The numbers below `count` in groups. */
function* groupsOf(count: number, size: number): Generator<number[]> {
  const all = Array.from({ length: count }, (_, index) => index)
  for (let start = 0; start < count; start += size) yield all.slice(start, start + size)
}

function changed(held: HeldReply, change: (reply: Message) => Message | Promise<Message>): HeldReply {
  return {
    metadata: held.metadata,
    error: held.error,
    outline: held.outline,
    loadsWhole: true,
    async load(signal) {
      const reply = await held.load(signal)
      return reply.hasError() ? reply : change(reply)
    },
    pieces: async (signal) => piecesOf(await change(await loadWhole(held, signal))),
    release: () => held.release(),
  }
}

async function loadWhole(held: HeldReply, signal: AbortSignal): Promise<Message> {
  const reply = await held.load(signal)
  if (reply.hasError()) throw new LostReplyError(held, reply)
  return reply
}

/**
 * All items of a stream at once, for strategies that compare the models of a round with each other.
 *
 * @example
 * const models = await collect(replies.weightedBy('num-examples'))
 */
export function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  return Array.fromAsync(stream)
}
