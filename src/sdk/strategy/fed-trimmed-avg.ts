import { pythonFloat } from '../../base/python-float.ts'
import { ArrayRecord } from '../../message/records.ts'
import { stacked, trimmedMean } from '../arithmetic/columns.ts'
import { arrayOf } from '../arithmetic/tensor.ts'
import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { checkedNumber } from './option-checks.ts'
import { collect } from './reply-stream.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** Options of {@link FedTrimmedAvg}. */
export interface FedTrimmedAvgOptions extends FedAvgOptions {
  /** Share of the models that is left out at each end, number by number; below 0.5, by default 0.2, rounded down. */
  readonly beta?: number | bigint
}

/**
 * The mean of the nodes' models without the smallest and largest numbers, without weights (Yin et al., "Byzantine-Robust
 * Distributed Learning: Towards Optimal Statistical Rates", 2018). Metrics are averaged by weight.
 *
 * @example
 * new FedTrimmedAvg({ beta: 0.1, minTrainNodes: 10 })
 */
export class FedTrimmedAvg extends FedAvg {
  readonly beta: number

  constructor(options: FedTrimmedAvgOptions = {}) {
    super(options)
    this.beta = checkedNumber('FedTrimmedAvg', 'beta', options.beta ?? 0.2, { atLeast: 0, below: 0.5 })
  }

  override summary(): void {
    log.info('\t├──> FedTrimmedAvg settings:')
    log.info(`\t│\t└── beta: ${pythonFloat(this.beta)}`)
    super.summary()
  }

  override async aggregateTrain({ replies }: TrainPhase): Promise<Aggregate> {
    const parts = await collect(replies.weightedBy(this.weightedByKey))
    const [first] = parts
    if (!first) return {}
    const cut = Math.floor(this.beta * parts.length)
    const arrays = [...first.arrays.keys()].map((name) => {
      const stack = stacked(
        name,
        parts.map((part) => part.arrays.getArray(name)),
      )
      return [name, arrayOf(trimmedMean(stack, cut))] as const
    })
    return { arrays: new ArrayRecord(arrays), metrics: this.trainMetricsOf(parts) }
  }
}
