import { UsageError } from '../../base/errors.ts'
import { pythonFixed, pythonFloat } from '../../base/python-float.ts'
import type { Message } from '../../message/message.ts'
import { type ArrayRecord, type ConfigRecord, MetricRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import type { Replies } from '../strategy/reply-stream.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { Accounting } from './accounting.ts'
import { clippedModel } from './clipping.ts'
import { clippingNormKey, type DpOptions, DpWrapper, ensureSeesReplies, withArrays } from './dp-wrapper.ts'
import { type PrivacySpent, RdpAccountant } from './rdp-accountant.ts'

/** Options of both wrappers with fixed clipping. */
export interface DpFixedClippingOptions extends DpOptions {
  /** The longest update of a node, as a Euclidean norm over all arrays. */
  readonly clippingNorm: number | bigint
  /** Adds up the privacy loss, and ends the run before its budget would be exceeded. All replies must weigh the same. */
  readonly accountant?: RdpAccountant
  /**
   * The most privacy loss of the training: it ends, with the model so far, before a round that would exceed it. What was spent
   * is in the metrics of training of each round, as `privacy-epsilon` and `privacy-delta`. Needs what an accountant needs, and
   * takes its place.
   */
  readonly budget?: PrivacyBudget
}

/** The privacy that a training may spend. */
export interface PrivacyBudget {
  readonly epsilon: number | bigint
  /** The probability that the protection fails, much less than one divided by the number of nodes. */
  readonly delta: number
}

abstract class DpFixedClipping extends DpWrapper {
  readonly noiseMultiplier: number
  readonly clippingNorm: number
  readonly #accounting: Accounting | undefined
  readonly #budget: PrivacyBudget | undefined

  constructor(strategy: Strategy, options: DpFixedClippingOptions) {
    super(strategy, options)
    this.noiseMultiplier = this.check('noiseMultiplier', options.noiseMultiplier, { atLeast: 0 })
    this.clippingNorm = this.check('clippingNorm', options.clippingNorm, { above: 0 })
    const { noiseMultiplier, numSampledClients: sampleSize } = this
    this.#budget = options.budget
    const accountant = options.accountant ?? (options.budget && this.#accountantFor(options.budget))
    if (options.accountant && options.budget)
      throw new UsageError(`${this.constructor.name}: set either accountant or budget.`)
    this.#accounting = accountant && new Accounting(accountant, strategy, { noiseMultiplier, sampleSize })
  }

  #accountantFor(budget: PrivacyBudget): RdpAccountant {
    const maxEpsilon = this.check('budget.epsilon', budget.epsilon, { above: 0 })
    const targetDelta = this.check('budget.delta', budget.delta, { above: 0, below: 1 })
    return new RdpAccountant({ targetDelta, maxEpsilon, populationSize: this.numSampledClients })
  }

  override endsBefore(round: number): string | undefined {
    if (!this.#budget || !this.#accounting?.isExhausted) return super.endsBefore(round)
    const { epsilon, delta } = this.#accounting.spent
    return `the privacy budget of epsilon ${this.#budget.epsilon} at delta ${delta} would be exceeded (spent: ${epsilon.toFixed(4)}).`
  }

  override async aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
    const aggregate = await super.aggregateTrain(phase)
    if (!this.#budget || !this.#accounting) return aggregate
    const { epsilon, delta } = this.#accounting.spent
    const metrics = aggregate.metrics?.copy() ?? new MetricRecord()
    return { ...aggregate, metrics: metrics.set('privacy-epsilon', float(epsilon)).set('privacy-delta', float(delta)) }
  }

  /** What was spent so far, if there is an accountant. */
  get privacySpent(): PrivacySpent | undefined {
    return this.#accounting?.spent
  }

  override async configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>> {
    const messages = await super.configureTrain(round, arrays, config, grid)
    return this.#accounting ? this.#accounting.admitted(messages) : messages
  }

  override storeState(): void {
    if (this.#accounting) this.state.set('privacy-loss', this.#accounting.accountant.toRecord())
  }

  override restoreState(): void {
    this.#accounting?.accountant.restore(this.state.config('privacy-loss'))
  }

  protected override isAccountable(replies: Replies): boolean {
    return this.#accounting?.isAccountable(replies) ?? true
  }

  protected override isReleasable(): boolean {
    return this.#accounting?.isReleasable() ?? super.isReleasable()
  }

  protected override released(): void {
    this.#accounting?.release()
  }

  protected get noiseNorm(): number {
    return this.clippingNorm
  }

  override summary(): void {
    log.info('\t├──> DP settings:')
    log.info(`\t│\t├── Noise multiplier: ${pythonFloat(this.noiseMultiplier)}`)
    log.info(`\t│\t└── Clipping norm: ${pythonFloat(this.clippingNorm)}`)
    this.#accounting?.summary()
    super.summary()
  }
}

/**
 * Central differential privacy (Geyer et al., "Differentially Private Federated Learning: A Client Level Perspective",
 * 2017; McMahan et al., "Learning Differentially Private Recurrent Language Models", 2018): the server shortens the
 * update of each node to a norm, lets the strategy inside aggregate, and adds noise.
 *
 * @example
 * new DifferentialPrivacyServerSideFixedClipping(new FedAvg({ minTrainNodes: 50 }), {
 *   noiseMultiplier: 1,
 *   clippingNorm: 0.5,
 *   numSampledClients: 50,
 * })
 */
export class DifferentialPrivacyServerSideFixedClipping extends DpFixedClipping {
  constructor(strategy: Strategy, options: DpFixedClippingOptions) {
    super(strategy, options)
    ensureSeesReplies(this.constructor.name, strategy)
  }

  protected override aggregateClipped(phase: TrainPhase): Promise<Aggregate> {
    const { replies, current } = phase
    for (let count = 0; count < replies.size; count++)
      log.info(`aggregate_fit: parameters are clipped by value: ${pythonFixed(this.clippingNorm, 4)}.`)
    const clip = (arrays: ArrayRecord): ArrayRecord => clippedModel(current, arrays, this.clippingNorm).arrays
    return this.strategy.aggregateTrain({ ...phase, replies: replies.map((reply) => withArrays(reply, clip)) })
  }
}

/**
 * As {@link DifferentialPrivacyServerSideFixedClipping}, but the nodes shorten their updates themselves: the norm is sent
 * to them as `clipping_norm`, and the ClientApp needs the mod {@link fixedClipping}.
 */
export class DifferentialPrivacyClientSideFixedClipping extends DpFixedClipping {
  override configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>> {
    return super.configureTrain(round, arrays, config.copy().set(clippingNormKey, float(this.clippingNorm)), grid)
  }

  protected override aggregateClipped(phase: TrainPhase): Promise<Aggregate> {
    return this.strategy.aggregateTrain(phase)
  }
}
