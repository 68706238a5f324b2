import { UsageError } from '../../base/errors.ts'
import { pythonFixed, pythonFloat } from '../../base/python-float.ts'
import type { Message } from '../../message/message.ts'
import { type ArrayRecord, ConfigRecord, MetricRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { exponential, power } from '../arithmetic/exact-functions.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { AggregationError } from '../strategy/aggregation-error.ts'
import type { Replies } from '../strategy/reply-stream.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { clippedModel } from './clipping.ts'
import { clippingNormKey, type DpOptions, DpWrapper, ensureSeesReplies, normBitKey, withArrays } from './dp-wrapper.ts'

/** Options of both wrappers with adaptive clipping. */
export interface DpAdaptiveClippingOptions extends DpOptions {
  /** The norm of the first round, by default 0.1. */
  readonly initialClippingNorm?: number | bigint
  /** The share of updates that should be shortened, by default 0.5. */
  readonly targetClippedQuantile?: number | bigint
  /** How fast the norm follows, by default 0.2. */
  readonly clipNormLr?: number | bigint
  /**
   * How the norm follows. With `flower`, the default, it becomes smaller when more updates are shortened than the target,
   * which is Flower's rule up to 1.42; it can shrink towards 0. With `paper` it becomes larger then, so that the target is
   * reached.
   */
  readonly normRule?: 'flower' | 'paper'
  /** Standard deviation of the noise on the number of shortened updates, by default numSampledClients / 20. */
  readonly clippedCountStddev?: number | bigint
}

/** What the norm is in the next round follows from how many updates were shortened in this one. */
abstract class DpAdaptiveClipping extends DpWrapper {
  readonly noiseMultiplier: number
  readonly targetClippedQuantile: number
  readonly clipNormLr: number
  readonly clippedCountStddev: number
  clippingNorm: number
  readonly #direction: 1 | -1

  constructor(strategy: Strategy, options: DpAdaptiveClippingOptions) {
    super(strategy, options)
    ensureSeesReplies(this.constructor.name, strategy)
    const { initialClippingNorm = 0.1, targetClippedQuantile = 0.5, clipNormLr = 0.2, clippedCountStddev } = options
    this.#direction = options.normRule === 'paper' ? 1 : -1
    const multiplier = this.check('noiseMultiplier', options.noiseMultiplier, { atLeast: 0 })
    this.clippingNorm = this.check('initialClippingNorm', initialClippingNorm, { above: 0 })
    this.targetClippedQuantile = this.check('targetClippedQuantile', targetClippedQuantile, { atLeast: 0, atMost: 1 })
    this.clipNormLr = this.check('clipNormLr', clipNormLr, { above: 0 })
    const byDefault = multiplier > 0 ? this.numSampledClients / 20 : 0
    this.clippedCountStddev = this.check('clippedCountStddev', clippedCountStddev ?? byDefault, { atLeast: 0 })
    this.noiseMultiplier = multiplier > 0 ? this.#shareForModel(multiplier) : 0
    // Model and count together protect as one release with the noise that was asked for (theorem 1 of the paper).
    this.account(options, multiplier)
  }

  /** The noise on the count uses up part of the protection: the noise on the model must be larger for it. */
  #shareForModel(multiplier: number): number {
    if (multiplier >= 2 * this.clippedCountStddev)
      throw new UsageError(
        `${this.constructor.name}: clippedCountStddev (${this.clippedCountStddev}, by default numSampledClients / 20) must be more than half of noiseMultiplier (${multiplier}): increase it, or decrease noiseMultiplier.`,
      )
    const forModel = power(power(multiplier, -2) - power(2 * this.clippedCountStddev, -2), -0.5)
    const factor = forModel / multiplier
    if (factor >= 2)
      log.warn(
        `A significant amount of noise (${pythonFloat(factor)}) has to be added. Consider increasing \`clipped_count_stddev\` or \`num_sampled_clients\`.`,
      )
    return forModel
  }

  override storeState(): void {
    super.storeState()
    this.state.set('clipping', new ConfigRecord({ norm: float(this.clippingNorm) }))
  }

  override restoreState(): void {
    super.restoreState()
    this.clippingNorm = this.state.config('clipping').getNumber('norm')
  }

  protected get noiseNorm(): number {
    return this.clippingNorm
  }

  override summary(): void {
    log.info('\t├──> DP settings:')
    log.info(`\t│\t├── Noise multiplier: ${pythonFloat(this.noiseMultiplier)}`)
    log.info(`\t│\t├── Clipping norm: ${pythonFloat(this.clippingNorm)}`)
    log.info(`\t│\t├── Target clipped quantile: ${pythonFloat(this.targetClippedQuantile)}`)
    log.info(`\t│\t└── Clip norm learning rate: ${pythonFloat(this.clipNormLr)}`)
    super.summary()
  }

  /** Follows the share of shortened updates, which noise hides. */
  protected adapt(clippedCount: number, replies: number): void {
    const fraction = (clippedCount + this.clippedCountStddev * this.gaussian()) / replies
    this.clippingNorm *= exponential(this.#direction * this.clipNormLr * (fraction - this.targetClippedQuantile))
  }
}

/**
 * Central differential privacy with a norm that adapts (Andrew et al., "Differentially Private Learning with Adaptive
 * Clipping", 2021): the server shortens the update of each node, and moves the norm towards a quantile of their lengths.
 *
 * @example
 * new DifferentialPrivacyServerSideAdaptiveClipping(new FedAvg({ minTrainNodes: 100 }), {
 *   noiseMultiplier: 1,
 *   numSampledClients: 100,
 * })
 */
export class DifferentialPrivacyServerSideAdaptiveClipping extends DpAdaptiveClipping {
  protected override async aggregateClipped(phase: TrainPhase): Promise<Aggregate> {
    const clippedNodes = new Map<bigint, boolean>()
    const { replies, current } = phase
    for (let count = 0; count < replies.size; count++)
      log.info(`aggregate_train: arrays in \`ArrayRecord\` are clipped by value: ${pythonFixed(this.clippingNorm, 4)}.`)
    const clipped = replies.map((reply) =>
      withArrays(reply, (arrays) => {
        const result = clippedModel(current, arrays, this.clippingNorm)
        clippedNodes.set(reply.metadata.srcNodeId, result.isClipped)
        return result.arrays
      }),
    )
    const aggregate = await this.strategy.aggregateTrain({ ...phase, replies: clipped })
    await this.#lookAtRest(clipped, clippedNodes)
    this.adapt([...clippedNodes.values()].filter(Boolean).length, replies.size)
    return aggregate
  }

  /** A strategy need not look at all replies, but the share of shortened updates is that of all. */
  async #lookAtRest(clipped: Replies, seen: ReadonlyMap<bigint, boolean>): Promise<void> {
    if (seen.size === clipped.size) return
    for await (const _reply of clipped);
  }
}

/**
 * As {@link DifferentialPrivacyServerSideAdaptiveClipping}, but the nodes shorten their updates themselves: the norm is
 * sent to them as `clipping_norm`, and the ClientApp needs the mod {@link adaptiveClipping}, which reports in the metric
 * `norm_bit` whether it has shortened the update.
 */
export class DifferentialPrivacyClientSideAdaptiveClipping extends DpAdaptiveClipping {
  override configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>> {
    return super.configureTrain(round, arrays, config.copy().set(clippingNormKey, float(this.clippingNorm)), grid)
  }

  protected override async aggregateClipped(phase: TrainPhase): Promise<Aggregate> {
    const bits = phase.replies.outlines.flatMap(({ outline }) => {
      const records = [...outline.values()].filter((record) => record instanceof MetricRecord)
      return records.slice(0, 1).map(bitOf)
    })
    const aggregate = await this.strategy.aggregateTrain(phase)
    this.adapt(bits.filter(Boolean).length, phase.replies.size)
    return aggregate
  }
}

function bitOf(metrics: MetricRecord): boolean {
  const bit = metrics.get(normBitKey)
  if (bit !== undefined) return Boolean(Number(bit))
  throw new AggregationError(
    `A reply has no metric '${normBitKey}': add the mod adaptiveClipping (Python: adaptiveclipping_mod) to the ClientApp.`,
  )
}
