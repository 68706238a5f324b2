import type { ArrayRecord } from '../../message/records.ts'
import { minus } from '../arithmetic/elementwise.ts'
import { sumOfSquares } from '../arithmetic/reductions.ts'
import { tensorOf } from '../arithmetic/tensor.ts'
import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { checkedNumber } from './option-checks.ts'
import { pairedArrays } from './paired-arrays.ts'
import { collect } from './reply-stream.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'
import { meanOfArrays } from './weighted-mean.ts'

/** Options of {@link GeometricMedian}. */
export interface GeometricMedianOptions extends FedAvgOptions {
  /** How many steps of Weiszfeld's algorithm are made, by default 8. */
  readonly iterations?: number | bigint
  /** Distances count as this at least, by default 1e-6. */
  readonly smoothing?: number | bigint
}

/**
 * Robust federated aggregation (Pillutla et al., "Robust Aggregation for Federated Learning", 2022, algorithm 2): the next
 * model is the one with the smallest sum of weighted distances from the nodes' models, so that a minority of wrong models
 * cannot move it far. Models with numbers that are not finite are left out.
 *
 * @example
 * new GeometricMedian({ minTrainNodes: 10 })
 */
export class GeometricMedian extends FedAvg {
  readonly iterations: number
  readonly smoothing: number

  constructor(options: GeometricMedianOptions = {}) {
    super(options)
    const { iterations = 8, smoothing = 1e-6 } = options
    this.iterations = checkedNumber('GeometricMedian', 'iterations', iterations, { isWhole: true, above: 0 })
    this.smoothing = checkedNumber('GeometricMedian', 'smoothing', smoothing, { above: 0 })
  }

  override summary(): void {
    log.info('\t├──> GeometricMedian settings:')
    log.info(`\t│\t├── Iterations: ${this.iterations}`)
    log.info(`\t│\t└── Smoothing: ${this.smoothing}`)
    super.summary()
  }

  override async aggregateTrain({ replies, current }: TrainPhase): Promise<Aggregate> {
    const all = await collect(replies.weightedBy(this.weightedByKey))
    const parts = all.filter(({ arrays }) => Number.isFinite(distance(arrays, current)))
    if (parts.length < all.length)
      log.warn(`Left out ${all.length - parts.length} models with numbers that are not finite.`)
    if (parts.length === 0) return {}
    let center = meanOfArrays(parts)
    for (let iteration = 0; iteration < this.iterations; iteration++)
      center = meanOfArrays(
        parts.map(({ arrays, weight }) => ({
          arrays,
          weight: weight / Math.max(this.smoothing, distance(arrays, center)),
        })),
      )
    return { arrays: center, metrics: this.trainMetricsOf(parts) }
  }
}

/** The Euclidean distance of two models, over all arrays, in double precision. */
function distance(model: ArrayRecord, other: ArrayRecord): number {
  const squares = pairedArrays(model, other).map(([name, ofModel, ofOther]) =>
    sumOfSquares(minus(tensorOf(name, ofModel), tensorOf(name, ofOther)), 'float64'),
  )
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0))
}
