import { log } from '../log.ts'
import { AggregationError } from './aggregation-error.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import type { WeightedReply } from './reply-stream.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'
import { WeightedSum } from './weighted-sum.ts'

/** Options of {@link FedNova}. */
export interface FedNovaOptions extends FedAvgOptions {
  /** The metric that holds how many steps of SGD a node has made, by default `local-steps`. */
  readonly localStepsKey?: string
}

/**
 * FedNova (Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization", 2020,
 * equation 8, for nodes with plain SGD): the update of each node is divided by the number of its steps, so that nodes
 * which make more steps do not pull the model towards their own optimum.
 *
 * @example
 * // In the ClientApp: new MetricRecord({ 'num-examples': n, 'local-steps': steps })
 * new FedNova({ minTrainNodes: 10 })
 */
export class FedNova extends FedAvg {
  readonly localStepsKey: string

  constructor(options: FedNovaOptions = {}) {
    super(options)
    this.localStepsKey = options.localStepsKey ?? 'local-steps'
  }

  override summary(): void {
    log.info('\t├──> FedNova settings:')
    log.info(`\t│\t└── Local steps key: '${this.localStepsKey}'`)
    super.summary()
  }

  override async aggregateTrain({ replies, current }: TrainPhase): Promise<Aggregate> {
    const weighted = replies.weightedBy(this.weightedByKey)
    if (weighted.size === 0) return {}
    const parts = weighted.known
    const steps = parts.map((part) => this.#stepsOf(part))
    const effective = parts.reduce((sum, { share }, index) => sum + share * (steps[index] as number), 0)
    // x + Σ p τ_eff / τ (x_i - x), as one sum of models.
    const factors = parts.map(({ share }, index) => (share * effective) / (steps[index] as number))
    const sum = new WeightedSum()
    sum.add(current, 1 - factors.reduce((total, factor) => total + factor))
    await weighted.addArrays(sum, factors)
    return { arrays: sum.mean(), metrics: await this.trainMetricsOfAll(weighted) }
  }

  #stepsOf({ metrics, nodeId }: Pick<WeightedReply, 'metrics' | 'nodeId'>): number {
    const steps = Number(metrics.get(this.localStepsKey))
    if (Number.isFinite(steps) && steps > 0) return steps
    throw new AggregationError(
      `The reply of node ${nodeId} has no metric '${this.localStepsKey}' above 0: return the number of SGD steps under that name, or name it with localStepsKey.`,
    )
  }
}
