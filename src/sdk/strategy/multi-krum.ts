import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { checkedNumber } from './option-checks.ts'
import { collect } from './reply-stream.ts'
import { selectMultiKrum } from './select-multi-krum.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'
import { meanOfArrays } from './weighted-mean.ts'

/** Options of {@link Krum}. */
export interface KrumOptions extends FedAvgOptions {
  /** How many nodes may be malicious, by default 0. */
  readonly numMaliciousNodes?: number | bigint
}

/** Options of {@link MultiKrum}. */
export interface MultiKrumOptions extends KrumOptions {
  /** How many models are averaged, by default 1. */
  readonly numNodesToSelect?: number | bigint
}

/**
 * Multi-Krum (Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", 2017): averages
 * the models that are nearest to their neighbours, by weight.
 *
 * @example
 * new MultiKrum({ numMaliciousNodes: 2, numNodesToSelect: 5, minTrainNodes: 10 })
 */
export class MultiKrum extends FedAvg {
  readonly numMaliciousNodes: number
  readonly numNodesToSelect: number

  constructor(options: MultiKrumOptions = {}) {
    super(options)
    const { numMaliciousNodes = 0, numNodesToSelect = 1 } = options
    const { name } = this.constructor
    const count = { isWhole: true } as const
    this.numMaliciousNodes = checkedNumber(name, 'numMaliciousNodes', numMaliciousNodes, { ...count, atLeast: 0 })
    this.numNodesToSelect = checkedNumber(name, 'numNodesToSelect', numNodesToSelect, { ...count, atLeast: 1 })
  }

  override summary(): void {
    log.info('\t├──> MultiKrum settings:')
    log.info(`\t│\t├── Number of malicious nodes: ${this.numMaliciousNodes}`)
    log.info(`\t│\t└── Number of nodes to select: ${this.numNodesToSelect}`)
    super.summary()
  }

  override async aggregateTrain({ replies }: TrainPhase): Promise<Aggregate> {
    const parts = await collect(replies.weightedBy(this.weightedByKey))
    if (parts.length === 0) return {}
    const selected = selectMultiKrum(parts, this.numMaliciousNodes, this.numNodesToSelect)
    return { arrays: meanOfArrays(selected), metrics: this.trainMetricsOf(selected) }
  }
}
