import { ArrayRecord, type MetricRecord } from '../../message/records.ts'
import { prettyRounds } from './pretty-rounds.ts'

/** The model of the round whose metric was the best: see `keepBest`. */
export interface BestModel {
  readonly round: number
  readonly value: number
  readonly arrays: ArrayRecord
}

/** Metrics by round. */
export class RoundMetrics {
  readonly #what: string
  readonly #byRound: (round: number) => MetricRecord | undefined

  /** @internal */
  constructor(what: string, byRound: (round: number) => MetricRecord | undefined) {
    this.#what = what
    this.#byRound = byRound
  }

  /** The metrics of a round; `undefined` if it has none. */
  get(round: number): MetricRecord | undefined {
    return this.#byRound(round)
  }

  /** The metrics of a round. Throws a TypeError if it has none. */
  at(round: number): MetricRecord {
    const metrics = this.#byRound(round)
    if (metrics) return metrics
    throw new TypeError(`Round ${round} has no metrics of ${this.#what}.`)
  }
}

/**
 * What a strategy has to show at its end. Metrics are by round; round 0 is the model before training.
 *
 * @example
 * const result = await strategy.start(grid, initialArrays, { numRounds: 3 })
 * await writeFile('model.npy', result.arrays.getArray('weights').data)
 * result.evaluate.at(3).getNumber('accuracy')
 */
export class Result {
  /** The last aggregated model; the initial one if no round succeeded. */
  arrays: ArrayRecord
  /** Of the training at the nodes, as the strategy put them together. */
  readonly trainMetricsClientapp = new Map<number, MetricRecord>()
  /** Of the evaluation at the nodes. */
  readonly evaluateMetricsClientapp = new Map<number, MetricRecord>()
  /** Of `evaluateFn`, at the server. */
  readonly evaluateMetricsServerapp = new Map<number, MetricRecord>()
  /** The best model, if `keepBest` names a metric that some round had. */
  best: BestModel | undefined

  constructor(arrays: ArrayRecord = new ArrayRecord()) {
    this.arrays = arrays
  }

  /** The metrics of training. */
  get train(): RoundMetrics {
    return new RoundMetrics('training', (round) => this.trainMetricsClientapp.get(round))
  }

  /** The metrics of evaluation: those at the server, or else those at the nodes. */
  get evaluate(): RoundMetrics {
    return new RoundMetrics(
      'evaluation',
      (round) => this.evaluateMetricsServerapp.get(round) ?? this.evaluateMetricsClientapp.get(round),
    )
  }

  /** Several lines, as Flower prints it. */
  toString(): string {
    const sections = [
      `Global Arrays:\n\tArrayRecord (${megabytes(this.arrays).toFixed(3)} MB)\n`,
      `Aggregated ClientApp-side Train Metrics:\n${prettyRounds(this.trainMetricsClientapp)}\n`,
      `Aggregated ClientApp-side Evaluate Metrics:\n${prettyRounds(this.evaluateMetricsClientapp)}\n`,
      `ServerApp-side Evaluate Metrics:\n${prettyRounds(this.evaluateMetricsServerapp)}\n`,
    ]
    return sections.join('\n')
  }
}

/** Of 1024 x 1024 bytes. */
export function megabytes(arrays: ArrayRecord): number {
  return arrays.byteLength() / 1024 ** 2
}
