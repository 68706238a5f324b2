import { UsageError } from '../../base/errors.ts'
import { pythonFixed } from '../../base/python-float.ts'
import { Message } from '../../message/message.ts'
import { type ArrayRecord, RecordDict } from '../../message/records.ts'
import { log } from '../log.ts'
import { SecureAggregation } from '../secure-aggregation/secure-aggregation.ts'
import { type Bounds, checkedNumber } from '../strategy/option-checks.ts'
import type { Replies } from '../strategy/reply-stream.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { StrategyWrapper } from '../strategy/strategy-wrapper.ts'
import { withNoise } from './clipping.ts'
import { type Gaussian, secureGaussian } from './gaussian.ts'

/** The entry of the configuration that tells nodes the norm. */
export const clippingNormKey = 'clipping_norm'
/** The metric in which a node says whether its update was shortened. */
export const normBitKey = 'norm_bit'

export interface DpOptions {
  /** Standard deviation of the noise, in units of what one node can change; 0 adds none. 1 or more protects well. */
  readonly noiseMultiplier: number | bigint
  /** How many nodes are sampled in each round. */
  readonly numSampledClients: number | bigint
  /** @internal Where the noise comes from, by default a cryptographic generator; for tests. */
  readonly gaussian?: Gaussian
}

/**
 * What the wrappers for central differential privacy have in common: they leave sampling, aggregation and evaluation to
 * the strategy inside, and add normal noise to each model that it makes. A round in which a node fails is skipped.
 */
export abstract class DpWrapper extends StrategyWrapper {
  readonly numSampledClients: number
  abstract readonly noiseMultiplier: number
  protected readonly gaussian: Gaussian

  constructor(strategy: Strategy, options: DpOptions) {
    super(strategy)
    this.gaussian = options.gaussian ?? secureGaussian()
    this.numSampledClients = this.check('numSampledClients', options.numSampledClients, { above: 0 })
  }

  /** Makes the model from replies of which each can change it by the norm at most. */
  protected abstract aggregateClipped(phase: TrainPhase): Promise<Aggregate>

  /** The longest update of a node, to which the noise is in proportion. */
  protected abstract get noiseNorm(): number

  /** Whether the model of these replies may be made. */
  protected isAccountable(_replies: Replies): boolean {
    return true
  }

  /** Whether the model that was made may be released. Without an accountant a mean of fewer nodes is only a warning. */
  protected isReleasable(): boolean {
    if (this.strategy instanceof SecureAggregation) this.#warnUnlessSampled(this.strategy.nodesInMean)
    return true
  }

  /** Called when a model has been made. */
  protected released(): void {}

  /** Returns an option as a number, or throws a UsageError. */
  protected check(name: string, value: number | bigint, bounds: Bounds): number {
    return checkedNumber(this.constructor.name, name, value, bounds)
  }

  async aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
    if (!this.#isComplete(phase.replies) || !this.isAccountable(phase.replies)) return {}
    const aggregate = await this.aggregateClipped(phase)
    if (!aggregate.arrays) return aggregate
    if (!this.isReleasable()) return {}
    const arrays = this.#hidden(aggregate.arrays)
    this.released()
    return { ...aggregate, arrays }
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
