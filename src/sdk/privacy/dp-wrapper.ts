import { UsageError } from '../../base/errors.ts'
import { pythonFixed } from '../../base/python-float.ts'
import { Message } from '../../message/message.ts'
import { type ArrayRecord, type ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { SecureAggregation } from '../secure-aggregation/secure-aggregation.ts'
import { type Bounds, checkedNumber } from '../strategy/option-checks.ts'
import type { Replies } from '../strategy/reply-stream.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { StrategyWrapper } from '../strategy/strategy-wrapper.ts'
import { Accounting } from './accounting.ts'
import { withNoise } from './clipping.ts'
import { type Gaussian, secureGaussian } from './gaussian.ts'
import { type PrivacySpent, RdpAccountant } from './rdp-accountant.ts'

/** The entry of the configuration that tells nodes the norm. */
export const clippingNormKey = 'clipping_norm'
/** The metric in which a node says whether its update was shortened. */
export const normBitKey = 'norm_bit'

export interface DpOptions {
  /** Standard deviation of the noise, in units of what one node can change; 0 adds none. 1 or more protects well. */
  readonly noiseMultiplier: number | bigint
  /** How many nodes are sampled in each round. */
  readonly numSampledClients: number | bigint
  /** Adds up the privacy loss, and ends the run before its budget would be exceeded. All replies must weigh the same. */
  readonly accountant?: RdpAccountant
  /**
   * The most privacy loss of the training: it ends, with the model so far, before a round that would exceed it. What was spent
   * is in the metrics of training of each round: `privacy-epsilon` of `privacy-epsilon-max`, at `privacy-delta`. Needs what an
   * accountant needs, and takes its place.
   */
  readonly budget?: PrivacyBudget
  /** @internal Where the noise comes from, by default a cryptographic generator; for tests. */
  readonly gaussian?: Gaussian
}

/** The privacy that a training may spend. */
export interface PrivacyBudget {
  /** The bound on what receivers of the models can learn of one node. */
  readonly epsilon: number | bigint
  /** The probability that the protection fails, much less than one divided by the number of nodes. */
  readonly delta: number
  /**
   * By default `no-amplification`. With `without-replacement` it counts that a node is in some rounds only: epsilon is smaller
   * if `numSampledClients` is a small part of `populationSize`. It bounds what changes if a node has other data, instead of
   * none, so half of the noise counts.
   */
  readonly samplingMethod?: 'no-amplification' | 'without-replacement'
  /** How many nodes are online at least when nodes are sampled. Needed with `without-replacement`. */
  readonly populationSize?: number | bigint
}

/**
 * What the wrappers for central differential privacy have in common: they leave sampling, aggregation and evaluation to
 * the strategy inside, and add normal noise to each model that it makes. A round in which a node fails is skipped.
 */
export abstract class DpWrapper extends StrategyWrapper {
  readonly numSampledClients: number
  abstract readonly noiseMultiplier: number
  protected readonly gaussian: Gaussian
  #accounting: Accounting | undefined
  #budget: PrivacyBudget | undefined

  constructor(strategy: Strategy, options: DpOptions) {
    super(strategy)
    this.gaussian = options.gaussian ?? secureGaussian()
    this.numSampledClients = this.check('numSampledClients', options.numSampledClients, { above: 0 })
  }

  /** Makes the model from replies of which each can change it by the norm at most. */
  protected abstract aggregateClipped(phase: TrainPhase): Promise<Aggregate>

  /** The longest update of a node, to which the noise is in proportion. */
  protected abstract get noiseNorm(): number

  /** @internal Starts the accounting of releases with this noise, if the options ask for it. Called by the constructors. */
  protected account({ accountant, budget }: DpOptions, noiseMultiplier: number): void {
    if (accountant && budget) throw new UsageError(`${this.constructor.name}: set either accountant or budget.`)
    const used = accountant ?? (budget && this.#accountantFor(budget))
    this.#budget = budget
    const event = { noiseMultiplier, sampleSize: this.numSampledClients }
    this.#accounting = used && new Accounting(used, this.strategy, event)
  }

  #accountantFor({ epsilon, delta, samplingMethod, populationSize }: PrivacyBudget): RdpAccountant {
    const maxEpsilon = this.check('budget.epsilon', epsilon, { above: 0 })
    const targetDelta = this.check('budget.delta', delta, { above: 0, below: 1 })
    if (samplingMethod === 'without-replacement' && populationSize === undefined)
      throw new UsageError(`${this.constructor.name}: budget.samplingMethod needs budget.populationSize.`)
    return new RdpAccountant({
      targetDelta,
      maxEpsilon,
      populationSize: populationSize ?? this.numSampledClients,
      samplingMethod: samplingMethod ?? 'no-amplification',
    })
  }

  /** What was spent so far, if there is an accountant. */
  get privacySpent(): PrivacySpent | undefined {
    return this.#accounting?.spent
  }

  override endsBefore(round: number): string | undefined {
    if (!this.#budget || !this.#accounting?.isExhausted) return super.endsBefore(round)
    const { epsilon, delta } = this.#accounting.spent
    return `the privacy budget of epsilon ${this.#budget.epsilon} at delta ${delta} would be exceeded (spent: ${epsilon.toFixed(4)}).`
  }

  override async configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>> {
    const messages = await super.configureTrain(round, arrays, config, grid)
    return this.#accounting ? this.#accounting.admitted(messages, grid) : messages
  }

  override storeState(): void {
    if (this.#accounting) this.state.set('privacy-loss', this.#accounting.accountant.toRecord())
  }

  override restoreState(): void {
    this.#accounting?.accountant.restore(this.state.config('privacy-loss'))
  }

  override summary(): void {
    this.#accounting?.summary()
    super.summary()
  }

  /** Whether the model that was made may be released. Without an accountant a mean of fewer nodes is only a warning. */
  #isReleasable(): boolean {
    if (this.#accounting) return this.#accounting.isReleasable()
    if (this.strategy instanceof SecureAggregation) this.#warnUnlessSampled(this.strategy.nodesInMean)
    return true
  }

  /** Returns an option as a number, or throws a UsageError. */
  protected check(name: string, value: number | bigint, bounds: Bounds): number {
    return checkedNumber(this.constructor.name, name, value, bounds)
  }

  async aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
    const isAccountable = this.#isComplete(phase.replies) && (this.#accounting?.isAccountable(phase.replies) ?? true)
    const aggregate = isAccountable ? await this.aggregateClipped(phase) : {}
    const isReleased = aggregate.arrays !== undefined && this.#isReleasable()
    const arrays = aggregate.arrays && isReleased ? this.#hidden(aggregate.arrays) : undefined
    if (isReleased) this.#accounting?.release()
    return this.#withSpent(aggregate.arrays && !isReleased ? {} : { ...aggregate, arrays })
  }

  /** Returns the metrics with what the budget has spent. The share of clipped updates is secret: only its noisy form is accounted for. */
  #withSpent(aggregate: Aggregate): Aggregate {
    if (!this.#accounting) return aggregate
    const metrics = aggregate.metrics?.copy()
    metrics?.delete(normBitKey)
    if (!this.#budget) return { ...aggregate, metrics }
    const { epsilon, delta } = this.#accounting.spent
    const shown = metrics ?? new MetricRecord()
    const epsilonMax = Number(this.#budget.epsilon)
    shown.set('privacy-epsilon', float(epsilon)).set('privacy-epsilon-max', float(epsilonMax))
    return { ...aggregate, metrics: shown.set('privacy-delta', float(delta)) }
  }

  /** Logs what came. Returns whether no node failed; that fewer nodes replied than were sampled is only a warning. */
  #isComplete({ outlines }: Replies): boolean {
    const failed = outlines.filter(({ error }) => error !== undefined)
    for (const { metadata, error } of failed)
      log.info(
        `Received error in reply from node ${metadata.srcNodeId}: Error(code=${error?.code}, reason='${error?.reason}')`,
      )
    if (failed.length > 0) {
      log.info('aggregate_train: Some clients reported errors. Skipping aggregation.')
      return false
    }
    log.info(`aggregate_train: Received ${outlines.length} results and 0 failures`)
    this.#warnUnlessSampled(outlines.length)
    return true
  }

  #warnUnlessSampled(clients: number): void {
    if (clients === this.numSampledClients) return
    log.warn(
      `The number of clients returning parameters (${clients}) differs from the number of sampled clients (${this.numSampledClients}). This could impact the differential privacy guarantees, potentially leading to privacy leakage or inadequate noise calibration.`,
    )
  }

  #hidden(arrays: ArrayRecord): ArrayRecord {
    const deviation = (this.noiseMultiplier * this.noiseNorm) / this.numSampledClients
    const hidden = withNoise(arrays, deviation, this.gaussian)
    log.info(`aggregate_fit: central DP noise with ${pythonFixed(deviation, 4)} stdev added`)
    return hidden
  }
}

/** Throws a UsageError for a strategy that hides the updates or metrics of single nodes, which this wrapper needs. */
export function ensureSeesReplies(wrapper: string, strategy: Strategy): void {
  if (strategy instanceof SecureAggregation)
    throw new UsageError(
      `${wrapper} looks at the replies of single nodes, which secure aggregation hides: use DifferentialPrivacyClientSideFixedClipping around SecureAggregation.`,
    )
}

/** The reply with other arrays in its records of arrays. */
export function withArrays(reply: Message, change: (arrays: ArrayRecord) => ArrayRecord): Message {
  const { arrayRecords } = reply.content
  const changed = [...reply.content].map(([name, record]) => {
    const arrays = arrayRecords.get(name)
    return [name, arrays ? change(arrays) : record] as const
  })
  return new Message(reply.metadata, { content: new RecordDict(changed) })
}
