import { ArrayRecord } from '../../message/records.ts'
import { median, stacked } from '../arithmetic/columns.ts'
import { arrayOf } from '../arithmetic/tensor.ts'
import { FedAvg } from './fed-avg.ts'
import { collect } from './reply-stream.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/**
 * The median of the nodes' models, number by number, without weights (Yin et al., "Byzantine-Robust Distributed Learning:
 * Towards Optimal Statistical Rates", 2018). Metrics are averaged by weight.
 *
 * @example
 * new FedMedian({ minTrainNodes: 5 })
 */
export class FedMedian extends FedAvg {
  override async aggregateTrain({ replies }: TrainPhase): Promise<Aggregate> {
    const parts = await collect(replies.weightedBy(this.weightedByKey))
    const [first] = parts
    if (!first) return {}
    const arrays = [...first.arrays.keys()].map((name) => {
      const stack = stacked(
        name,
        parts.map((part) => part.arrays.getArray(name)),
      )
      return [name, arrayOf(median(stack))] as const
    })
    return { arrays: new ArrayRecord(arrays), metrics: this.trainMetricsOf(parts) }
  }
}
