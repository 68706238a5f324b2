import { pythonFloat } from '../../base/python-float.ts'
import { ArrayRecord, type MetricRecord } from '../../message/records.ts'
import { dividedAsDouble, minus, plus, scaled, scaledAsDouble, squared } from '../arithmetic/elementwise.ts'
import { power } from '../arithmetic/exact-functions.ts'
import { sumOfSums } from '../arithmetic/reductions.ts'
import { arrayOf, converted, isFloat, type Tensor, tensorOf } from '../arithmetic/tensor.ts'
import { log } from '../log.ts'
import { AggregationError } from './aggregation-error.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { checkedNumber } from './option-checks.ts'
import { pairedArrays } from './paired-arrays.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** Options of {@link QFedAvg}. */
export interface QFedAvgOptions extends FedAvgOptions {
  /** Learning rate of the nodes; its inverse estimates the Lipschitz constant. */
  readonly clientLearningRate: number | bigint
  /** How fair the result is to nodes with a high loss, by default 0.1; with 0 all nodes count the same. */
  readonly q?: number | bigint
  /** The metric that holds a node's training loss, by default `train_loss`. */
  readonly trainLossKey?: string
}

/**
 * q-FedAvg (Li et al., "Fair Resource Allocation in Federated Learning", 2020): nodes with a higher loss move the model
 * further. The model becomes float64, as in Flower.
 *
 * @example
 * new QFedAvg({ clientLearningRate: 0.1, q: 0.2, trainLossKey: 'loss' })
 */
export class QFedAvg extends FedAvg {
  readonly clientLearningRate: number
  readonly q: number
  readonly trainLossKey: string

  constructor(options: QFedAvgOptions) {
    super(options)
    this.clientLearningRate = checkedNumber('QFedAvg', 'clientLearningRate', options.clientLearningRate, { above: 0 })
    this.q = checkedNumber('QFedAvg', 'q', options.q ?? 0.1)
    this.trainLossKey = options.trainLossKey ?? 'train_loss'
  }

  override summary(): void {
    log.info('\t├──> q-FedAvg settings:')
    log.info(`\t│\t├── client_learning_rate: ${pythonFloat(this.clientLearningRate)}`)
    log.info(`\t│\t├── q: ${pythonFloat(this.q)}`)
    log.info(`\t│\t└── train_loss_key: '${this.trainLossKey}'`)
    super.summary()
  }

  override async aggregateTrain({ replies, current }: TrainPhase): Promise<Aggregate> {
    const weighted = replies.weightedBy(this.weightedByKey)
    if (weighted.size === 0) return {}
    let deltas: Tensor[] | undefined
    let weight = 0
    for await (const { arrays, metrics } of weighted) {
      const [delta, h] = this.#weighted(current, arrays, this.#lossOf(metrics))
      deltas = deltas ? deltas.map((sum, index) => plus(sum, delta[index] as Tensor)) : delta
      weight += h
    }
    const steps = (deltas as Tensor[]).map((delta) => dividedAsDouble(delta, weight))
    const arrays = [...current].map(
      ([name, array], index) => [name, arrayOf(minus(tensorOf(name, array), steps[index] as Tensor))] as const,
    )
    return { arrays: new ArrayRecord(arrays), metrics: await this.trainMetricsOfAll(weighted) }
  }

  /** The gradient of one node, weighted by its loss, and the weight that it adds to the divisor. */
  #weighted(current: ArrayRecord, reply: ArrayRecord, loss: number): [delta: Tensor[], h: number] {
    const lipschitz = 1 / this.clientLearningRate
    const gradients = pairedArrays(current, reply).map(([name, ofModel, ofReply]) => {
      const replied = tensorOf(name, ofReply)
      if (!isFloat(replied.dtype))
        throw new InconsistentRepliesError(
          `The array '${name}' of the replies holds ${replied.dtype}: QFedAvg takes floats only.`,
        )
      // Flower overwrites the node's arrays step by step, so each step is rounded to their type.
      return scaled(inTypeOf(replied, minus(tensorOf(name, ofModel), replied)), lipschitz)
    })
    const squaredNorm = sumOfSums(gradients.map(squared))
    const factor = power(loss + 1e-10, this.q)
    const delta = gradients.map((gradient) => inTypeOf(gradient, scaledAsDouble(gradient, factor)))
    return [delta, this.q * power(loss + 1e-10, this.q - 1) * squaredNorm + lipschitz * factor]
  }

  #lossOf(metrics: MetricRecord): number {
    const loss = metrics.get(this.trainLossKey)
    if (typeof loss === 'number' || typeof loss === 'bigint') return Number(loss)
    throw new AggregationError(
      `The replies have no number '${this.trainLossKey}' among their metrics: return the training loss under that name, or name it with trainLossKey.`,
    )
  }
}

function inTypeOf({ dtype, fortranOrder }: Tensor, result: Tensor): Tensor {
  return converted(result, dtype, fortranOrder)
}
