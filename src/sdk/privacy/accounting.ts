import { UsageError } from '../../base/errors.ts'
import { pythonFixed, pythonGeneral } from '../../base/python-float.ts'
import type { Message } from '../../message/message.ts'
import { MetricRecord } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { SecureAggregation } from '../secure-aggregation/secure-aggregation.ts'
import { SelectingGrid } from '../selection/selecting-grid.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { InconsistentRepliesError } from '../strategy/inconsistent-replies.ts'
import type { Replies } from '../strategy/reply-stream.ts'
import type { Strategy } from '../strategy/strategy.ts'
import { secureUniform } from './gaussian.ts'
import { PrivacyBudgetExhaustedError } from './privacy-budget-error.ts'
import type { GaussianPrivacyEvent, PrivacySpent, RdpAccountant } from './rdp-accountant.ts'

/**
 * Keeps the accountant of a wrapper: refuses what it cannot account for, ends the run before a round that would exceed the
 * budget, and adds up each released model. Metrics of training and evaluation are not accounted for, as in Flower.
 */
export class Accounting {
  readonly accountant: RdpAccountant
  readonly #strategy: FedAvg
  /** With it single weights are hidden, and known to be equal. */
  readonly #secure: SecureAggregation | undefined
  readonly #event: GaussianPrivacyEvent

  /** Throws a UsageError unless every node counts the same and every round is accounted for in full. */
  constructor(accountant: RdpAccountant, strategy: Strategy, event: GaussianPrivacyEvent) {
    if (!(event.noiseMultiplier > 0)) throw new UsageError('An accountant needs a noiseMultiplier above 0.')
    if (accountant.samplingMethod === 'poisson')
      throw new UsageError(
        "Nodes are sampled in fixed numbers: the accountant's samplingMethod must be no-amplification or without-replacement.",
      )
    if (strategy instanceof SecureAggregation && strategy.weighting !== 'equal')
      throw new UsageError(
        "With an accountant all nodes must count the same, which secure aggregation hides: set weighting: 'equal' of SecureAggregation.",
      )
    const inner = strategy instanceof SecureAggregation ? strategy.strategy : strategy
    if (!(inner instanceof FedAvg) || inner.aggregateTrain !== FedAvg.prototype.aggregateTrain)
      throw new UsageError('With an accountant the strategy inside must aggregate as FedAvg does.')
    // The smaller epsilon supposes that no receiver of the models can know which nodes are in a round: Math.random can be predicted.
    if (accountant.samplingMethod === 'without-replacement') inner.sampleWith(secureUniform())
    this.accountant = accountant
    this.#strategy = inner
    this.#secure = strategy instanceof SecureAggregation ? strategy : undefined
    this.#event = event
  }

  get spent(): PrivacySpent {
    return this.accountant.privacySpent()
  }

  /** Whether one more release would exceed the budget. */
  get isExhausted(): boolean {
    return this.accountant.wouldExceed(this.#loss)
  }

  /** What the accountant adds: a node with other data changes the sum by twice the clipping norm, one without data by the norm. */
  get #loss(): GaussianPrivacyEvent {
    const { noiseMultiplier, sampleSize } = this.#event
    const norms = this.accountant.samplingMethod === 'without-replacement' ? 2 : 1
    return { noiseMultiplier: noiseMultiplier / norms, sampleSize }
  }

  /**
   * Returns the messages of a round, or none if secure aggregation has lost a node already. Throws a
   * PrivacyBudgetExhaustedError if its model would exceed the budget.
   */
  admitted(messages: Iterable<Message>, grid: Grid): Message[] {
    const asked = [...messages]
    if (asked.length === 0) return asked
    this.#ensureUniform(grid)
    const { sampleSize } = this.#event
    const sampled = this.#secure?.sampledNodes ?? asked.length
    if (sampled !== sampleSize)
      throw new UsageError(
        `${sampled} nodes were sampled, but the privacy loss is computed for numSampledClients ${sampleSize}.`,
      )
    if (this.isExhausted) {
      const { epsilon, delta } = this.spent
      throw new PrivacyBudgetExhaustedError(
        `The next private release would exceed maxEpsilon (current epsilon: ${epsilon}, delta: ${delta}).`,
      )
    }
    if (asked.length === sampleSize) return asked
    log.warn(
      `The round is skipped: ${asked.length} nodes are left in secure aggregation, and the noise is made for numSampledClients ${sampleSize}.`,
    )
    return []
  }

  /** Throws a UsageError if a node can be in the sample more often than the accountant supposes. */
  #ensureUniform(grid: Grid): void {
    const { samplingMethod, populationSize } = this.accountant
    if (samplingMethod !== 'without-replacement') return
    if (grid instanceof SelectingGrid)
      throw new UsageError(
        'A selection of nodes is no uniform sample: with samplingMethod without-replacement leave select out, or use no-amplification.',
      )
    const online = this.#strategy.nodesToSample
    if (online < populationSize)
      throw new UsageError(
        `Nodes were sampled from ${online}, but the privacy loss is computed for populationSize ${populationSize}: set minAvailableNodes of the strategy to it.`,
      )
  }

  /** Returns whether as many nodes replied as the noise is made for. Throws an InconsistentRepliesError unless all weigh the same. */
  isAccountable({ outlines }: Replies): boolean {
    if (outlines.length !== this.#event.sampleSize) return false
    if (this.#secure) return true
    const weights = outlines.map(({ outline }) => {
      const [metrics, ...others] = [...outline.values()].filter((record) => record instanceof MetricRecord)
      const weight = Number(metrics?.get(this.#strategy.weightedByKey))
      if (others.length > 0 || !Number.isFinite(weight) || weight <= 0)
        throw new InconsistentRepliesError(
          'With an accountant each reply needs one MetricRecord with a weight above 0.',
        )
      return weight
    })
    if (weights.some((weight) => weight !== weights[0]))
      throw new InconsistentRepliesError('With an accountant all replies must have the same weight.')
    return true
  }

  /** Returns whether as many nodes are in the mean that was made as the noise is made for. */
  isReleasable(): boolean {
    const { sampleSize } = this.#event
    const nodes = this.#secure?.nodesInMean ?? sampleSize
    if (nodes === sampleSize) return true
    log.warn(
      `The model of this round is dropped: ${nodes} nodes are in its mean, and the noise is made for numSampledClients ${sampleSize}.`,
    )
    return false
  }

  /** Adds the model that was made. */
  release(): void {
    this.accountant.compose(this.#loss)
    log.info(`Privacy spent: ${this.#spentText()} after ${this.spent.numReleases} releases`)
  }

  summary(): void {
    log.info(`\t├──> Privacy spent: ${this.#spentText()}`)
  }

  #spentText(): string {
    const { epsilon, delta } = this.spent
    return `epsilon=${pythonFixed(epsilon, 6)} at delta=${pythonGeneral(delta)}`
  }
}
