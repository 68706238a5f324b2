import { ArrayRecord, type MetricRecord } from '../../message/records.ts'
import { prettyRounds } from './pretty-rounds.ts'

/**
 * What a strategy has to show at its end. Metrics are by round; round 0 is the model before training.
 *
 * @example
 * const result = await strategy.start(grid, initialArrays, { numRounds: 3 })
 * await writeFile('model.npy', result.arrays.getArray('weights').data)
 * result.evaluateMetricsClientapp.get(3)?.getNumber('accuracy')
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

  constructor(arrays: ArrayRecord = new ArrayRecord()) {
    this.arrays = arrays
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
