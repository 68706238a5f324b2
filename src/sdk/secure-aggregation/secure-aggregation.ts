import { UsageError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { Message } from '../../message/message.ts'
import { type ArrayRecord, type ConfigRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { waitForThreshold } from '../selection/selecting-grid.ts'
import { AggregationError } from '../strategy/aggregation-error.ts'
import type { FedAvg } from '../strategy/fed-avg.ts'
import { checkedNumber } from '../strategy/option-checks.ts'
import { Replies } from '../strategy/reply-stream.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { StrategyWrapper } from '../strategy/strategy-wrapper.ts'
import { thresholdOf } from './fitting-shares.ts'
import { valueCount } from './fixed-point.ts'
import { needingOnlyMean } from './mean-only.ts'
import { ServerRound } from './server-round.ts'

/** Options of {@link SecureAggregation}. */
export interface SecureAggregationOptions {
  /**
   * The part of the sampled nodes that must come through every stage of a round, above 0.5, by default 0.6. So many nodes
   * together with the server could learn single updates.
   */
  readonly threshold?: number
  /**
   * Binary digits of a value, by default 22. The mean is exact to clippingRange / 2^bits, divided by the mean of the nodes'
   * weights as parts of maxWeight. A round can have 2^(32 - bits) nodes.
   */
  readonly bits?: number | bigint
  /** The largest change of a value in a round, by default 8; larger ones are clipped, with a warning. */
  readonly clippingRange?: number | bigint
  /** The largest weight of a node, by default 1000. A node with more is left out of the round. */
  readonly maxWeight?: number | bigint
  /**
   * `by-metric`, the default, weights as the strategy inside does; with `equal` all nodes count the same, which the
   * accounting of privacy needs.
   */
  readonly weighting?: 'by-metric' | 'equal'
  /** Seconds that nodes have for each of the three stages without training, by default 600. */
  readonly stageTimeout?: number | bigint
  /** Goes on with the next round, and the model as it was, if a round fails. By default the run fails. */
  readonly skipFailedRounds?: boolean
}

/**
 * Secure aggregation (Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", 2017): the
 * server learns the weighted mean of the models and of the metrics of training, and no single one of them. It protects from
 * a server that looks at what it receives, not from one that runs other code. Nodes may be lost in every stage. The ClientApp
 * needs the mod {@link secureAggregation}.
 *
 * The strategy inside must need the mean only: FedAvg, FedAvgM, FedProx, FedAdagrad, FedAdam or FedYogi.
 *
 * @example
 * const strategy = new SecureAggregation(new FedAvg({ minTrainNodes: 10 }), { threshold: 0.6, bits: 22 })
 */
export class SecureAggregation extends StrategyWrapper<FedAvg> {
  readonly threshold: number
  readonly bits: number
  readonly clippingRange: number
  readonly maxWeight: number
  readonly weighting: 'by-metric' | 'equal'
  readonly stageTimeout: number
  readonly skipFailedRounds: boolean
  #round: ServerRound | undefined
  #sampled = 0
  #nodesInMean = 0

  /** Throws a UsageError for a strategy that compares or changes single replies. */
  constructor(strategy: Strategy, options: SecureAggregationOptions = {}) {
    super(needingOnlyMean('SecureAggregation', strategy))
    const check = (name: string, value: number | bigint, bounds: object): number =>
      checkedNumber('SecureAggregation', name, value, bounds)
    this.threshold = check('threshold', options.threshold ?? 0.6, { above: 0.5, atMost: 1 })
    this.bits = check('bits', options.bits ?? 22, { isWhole: true, atLeast: 8, atMost: 31 })
    this.clippingRange = check('clippingRange', options.clippingRange ?? 8, { above: 0 })
    this.weighting = options.weighting ?? 'by-metric'
    this.maxWeight = this.weighting === 'equal' ? 1 : check('maxWeight', options.maxWeight ?? 1000, { above: 0 })
    this.stageTimeout = check('stageTimeout', options.stageTimeout ?? 600, { above: 0 })
    this.skipFailedRounds = options.skipFailedRounds ?? false
  }

  /** @internal How many nodes were sampled for the last round, also those that were lost since. */
  get sampledNodes(): number {
    return this.#sampled
  }

  /** @internal How many nodes are in the last mean: a node whose reply cannot be used is left out of it. */
  get nodesInMean(): number {
    return this.#nodesInMean
  }

  override summary(): void {
    log.info('\t├──> Secure aggregation settings:')
    log.info(`\t│\t├── Threshold: ${this.threshold}`)
    log.info(`\t│\t├── Bits: ${this.bits} | clipping range: ${this.clippingRange}`)
    log.info(`\t│\t└── Weighting: ${this.weighting} | largest weight: ${this.maxWeight}`)
    this.strategy.summary()
  }

  override async configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Message[]> {
    this.#round = undefined
    ensureFloats(arrays)
    const messages = await this.strategy.configureTrain(round, arrays, config, grid)
    this.#sampled = messages.length
    if (messages.length === 0) return []
    this.#checkCount(messages.length)
    // More than half, so that no two groups of nodes can give different secrets of the same node.
    const threshold = thresholdOf(this.threshold, messages.length)
    waitForThreshold(grid, threshold)
    const secure = new ServerRound(grid, {
      threshold,
      scale: { clippingRange: this.clippingRange, bits: this.bits },
      maxWeight: this.maxWeight,
      weightedBy: this.weighting === 'equal' ? '' : this.strategy.weightedByKey,
      timeoutSeconds: this.stageTimeout,
    })
    const prepared = await this.#orSkip(() => secure.prepare(messages))
    if (prepared) this.#round = secure
    return prepared ?? []
  }

  #checkCount(nodes: number): void {
    const most = Math.min(2 ** (32 - this.bits), limits.secureAggregationNodesMax)
    if (nodes >= 2 && nodes <= most) return
    throw new UsageError(
      `SecureAggregation: ${nodes} nodes were sampled, but a round can have 2 to ${most} nodes with bits ${this.bits}: sample other numbers, or set bits to another value.`,
    )
  }

  async aggregateTrain({ round, replies, current }: TrainPhase): Promise<Aggregate> {
    const secure = this.#round
    this.#round = undefined
    if (!secure) return {}
    const mean = await this.#orSkip(() => secure.finish(replies, current))
    if (!mean) return {}
    this.#nodesInMean = mean.nodes
    const metrics = mean.metrics.set(this.strategy.weightedByKey, float(mean.weight))
    const content = new RecordDict({ arrays: mean.arrays, metrics })
    const [from] = replies.outlines
    const message = new Message({ ...(from as NonNullable<typeof from>).metadata }, { content })
    return this.strategy.aggregateTrain({ round, replies: Replies.of([message]), current })
  }

  async #orSkip<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!this.skipFailedRounds || !(error instanceof AggregationError)) throw error
      log.error(`${error.message} The round is skipped.`)
      return undefined
    }
  }
}

function ensureFloats(arrays: ArrayRecord): void {
  try {
    valueCount(arrays)
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`SecureAggregation: ${error.message}`)
    throw error
  }
}
