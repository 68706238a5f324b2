import { UsageError } from '../../base/errors.ts'
import { ConfigRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { checkedNumber } from '../strategy/option-checks.ts'
import { gaussianRdp, sampledGaussianRdp } from './renyi.ts'
import { fixedSampleRdps } from './sampled-without-replacement.ts'

/**
 * How the nodes of a round are chosen. `no-amplification` counts every node in every round, and holds for any choice.
 * `without-replacement` draws `sampleSize` of `populationSize` nodes, each set as likely as any other. `poisson` lets each node
 * take part by chance, with probability sampleSize / populationSize.
 */
export type SamplingMethod = 'no-amplification' | 'without-replacement' | 'poisson'

const samplingMethods: readonly SamplingMethod[] = ['no-amplification', 'without-replacement', 'poisson']

/** The mechanism whose privacy loss an {@link RdpAccountant} adds up. */
export interface PrivacyConfig {
  /** The probability that the protection fails, for which epsilon is reported. */
  readonly targetDelta: number
  /** How many nodes there are. */
  readonly populationSize: number | bigint
  /** By default `no-amplification`. */
  readonly samplingMethod?: SamplingMethod
  /** The budget: no round starts that would exceed it. */
  readonly maxEpsilon?: number | bigint
}

/** One release of a model with noise. */
export interface GaussianPrivacyEvent {
  /** Standard deviation of the noise, in units of how far neighbouring data sets can be apart. */
  readonly noiseMultiplier: number
  readonly sampleSize: number
}

/** What was spent so far. */
export interface PrivacySpent {
  readonly epsilon: number
  readonly delta: number
  readonly numReleases: number
  /** The order of the Rényi divergence that gave this epsilon. */
  readonly optimalOrder: number
}

/** 1.1 to 10.9 in tenths, 11 to 63, and powers of 2 up to 1024: those of Google's accountant. */
const orders: readonly number[] = [
  ...Array.from({ length: 99 }, (_, index) => 1 + (index + 1) / 10),
  ...Array.from({ length: 53 }, (_, index) => 11 + index),
  128,
  256,
  512,
  1024,
]

/**
 * Adds up the privacy loss of releases by Rényi divergences, with the results of Google's `dp-accounting`, which Flower's
 * accountant uses. With the sampling method `without-replacement` two data sets are neighbours if one node has other data in
 * one of them, which changes a sum of clipped updates by twice the clipping norm; with the other methods, if the updates of one
 * node count as zero in one of them, which changes the sum by the clipping norm.
 *
 * @example
 * const accountant = new RdpAccountant({ targetDelta: 1e-5, populationSize: 1000, maxEpsilon: 8 })
 * new DifferentialPrivacyServerSideFixedClipping(new FedAvg(), { ...options, accountant })
 */
export class RdpAccountant {
  readonly targetDelta: number
  readonly populationSize: number
  readonly samplingMethod: SamplingMethod
  readonly maxEpsilon: number | undefined
  #losses = orders.map(() => 0)
  #releases = 0
  /** The divergences of the last event: most releases of a training are the same. */
  #last: { readonly key: string; readonly losses: readonly number[] } | undefined

  constructor(config: PrivacyConfig) {
    const { samplingMethod = 'no-amplification', maxEpsilon } = config
    const check = (name: string, value: number | bigint, bounds: object) =>
      checkedNumber('RdpAccountant', name, value, bounds)
    this.targetDelta = check('targetDelta', config.targetDelta, { above: 0, below: 1 })
    this.populationSize = check('populationSize', config.populationSize, { isWhole: true, above: 0 })
    this.maxEpsilon = maxEpsilon === undefined ? undefined : check('maxEpsilon', maxEpsilon, { above: 0 })
    if (!samplingMethods.includes(samplingMethod))
      throw new UsageError(
        `RdpAccountant: samplingMethod must be ${samplingMethods.join(', ')}, not ${samplingMethod}.`,
      )
    this.samplingMethod = samplingMethod
  }

  get numReleases(): number {
    return this.#releases
  }

  /** What was added so far, to be restored by an accountant with the same configuration. */
  toRecord(): ConfigRecord {
    return new ConfigRecord({ losses: this.#losses.map(float), releases: this.#releases })
  }

  restore(record: ConfigRecord): void {
    const losses = record.get('losses')
    if (!Array.isArray(losses) || losses.length !== orders.length)
      throw new UsageError('RdpAccountant: the saved losses are of other orders.')
    this.#losses = losses.map(Number)
    this.#releases = record.getNumber('releases')
  }

  /** Adds one release, or several that are the same. */
  compose(event: GaussianPrivacyEvent, count = 1): void {
    this.#losses = this.#lossesWith(event, count)
    this.#releases += count
  }

  /** Returns epsilon for this probability of failure, by default the one of the configuration. */
  epsilon(delta = this.targetDelta): number {
    return epsilonOf(this.#losses, delta).epsilon
  }

  /** Returns the probability of failure for this epsilon. */
  delta(epsilon: number): number {
    return deltaOf(this.#losses, epsilon)
  }

  privacySpent(delta = this.targetDelta): PrivacySpent {
    return { ...epsilonOf(this.#losses, delta), delta, numReleases: this.#releases }
  }

  /** Returns whether one more release, or several, would exceed the budget. Without a budget none does. */
  wouldExceed(event: GaussianPrivacyEvent, count = 1): boolean {
    if (this.maxEpsilon === undefined) return false
    return epsilonOf(this.#lossesWith(event, count), this.targetDelta).epsilon > this.maxEpsilon
  }

  #lossesWith({ noiseMultiplier, sampleSize }: GaussianPrivacyEvent, count: number): number[] {
    const noise = checkedNumber('RdpAccountant', 'noiseMultiplier', noiseMultiplier, { above: 0 })
    const bounds = { isWhole: true, above: 0, atMost: this.populationSize } as const
    const rate = checkedNumber('RdpAccountant', 'sampleSize', sampleSize, bounds) / this.populationSize
    const losses = this.#lossesOf(noise, rate)
    return this.#losses.map((loss, index) => loss + count * (losses[index] as number))
  }

  #lossesOf(noise: number, rate: number): readonly number[] {
    const key = `${noise} ${rate}`
    if (this.#last?.key === key) return this.#last.losses
    const losses =
      this.samplingMethod === 'without-replacement'
        ? fixedSampleRdps(orders, noise, rate)
        : orders.map((order) =>
            this.samplingMethod === 'poisson' ? sampledGaussianRdp(order, noise, rate) : gaussianRdp(order, noise),
          )
    this.#last = { key, losses }
    return losses
  }
}

/** Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy", 2020, proposition 12. */
function epsilonOf(losses: readonly number[], delta: number): { epsilon: number; optimalOrder: number } {
  const epsilons = orders.map((order, index) => {
    const loss = losses[index] as number
    // delta is at most the root of 1 - exp(-KL), and the divergence is at least KL.
    if (delta ** 2 + Math.expm1(-loss) > 0) return 0
    return loss + Math.log1p(-1 / order) - Math.log(delta * order) / (order - 1)
  })
  const least = epsilons.reduce((best, value) => Math.min(best, value))
  return { epsilon: Math.max(0, least), optimalOrder: orders[epsilons.indexOf(least)] as number }
}

function deltaOf(losses: readonly number[], epsilon: number): number {
  const logs = orders.map((order, index) => {
    const loss = losses[index] as number
    if (loss === 0) return Number.NEGATIVE_INFINITY
    const byKl = 0.5 * Math.log1p(-Math.exp(-loss))
    return Math.min(byKl, (order - 1) * (loss - epsilon + Math.log1p(-1 / order)) - Math.log(order))
  })
  return Math.min(1, Math.exp(Math.min(...logs)))
}
