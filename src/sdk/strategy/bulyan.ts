import { ArrayRecord } from '../../message/records.ts'
import { meanOfNearest, median, stacked } from '../arithmetic/columns.ts'
import { arrayOf } from '../arithmetic/tensor.ts'
import { log } from '../log.ts'
import { FedAvg } from './fed-avg.ts'
import type { KrumOptions } from './multi-krum.ts'
import { checkedNumber } from './option-checks.ts'
import { collect, type WeightedReply } from './reply-stream.ts'
import { selectMultiKrum } from './select-multi-krum.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** Chooses `select` of the replies, of which `malicious` may come from malicious nodes. */
export type SelectionRule = (replies: readonly WeightedReply[], malicious: number, select: number) => WeightedReply[]

/** Options of {@link Bulyan}. */
export interface BulyanOptions extends KrumOptions {
  /** The first step, by default the selection of {@link MultiKrum}. */
  readonly selectionRule?: SelectionRule
}

/**
 * Bulyan (El Mhamdi et al., "The Hidden Vulnerability of Distributed Learning in Byzantium", 2018): selects models, then
 * takes the mean of the numbers nearest to their median. A round with fewer than 4 f + 3 replies is skipped, for f
 * malicious nodes.
 *
 * @example
 * new Bulyan({ numMaliciousNodes: 1, minTrainNodes: 7 })
 */
export class Bulyan extends FedAvg {
  readonly numMaliciousNodes: number
  readonly #selectionRule: SelectionRule
  readonly #ruleName: string

  constructor(options: BulyanOptions = {}) {
    super(options)
    const { numMaliciousNodes = 0, selectionRule } = options
    const bounds = { isWhole: true, atLeast: 0 } as const
    this.numMaliciousNodes = checkedNumber('Bulyan', 'numMaliciousNodes', numMaliciousNodes, bounds)
    this.#selectionRule = selectionRule ?? selectMultiKrum
    this.#ruleName = selectionRule?.name ?? 'select_multikrum'
  }

  override summary(): void {
    log.info('\t├──> Bulyan settings:')
    log.info(`\t│\t├── Number of malicious nodes: ${this.numMaliciousNodes}`)
    log.info(`\t│\t└── Selection rule: ${this.#ruleName}`)
    super.summary()
  }

  override async aggregateTrain({ replies }: TrainPhase): Promise<Aggregate> {
    const parts = await collect(replies.weightedBy(this.weightedByKey))
    const required = 4 * this.numMaliciousNodes + 3
    if (parts.length < required) {
      log.warn(
        `Insufficient replies, skipping Bulyan aggregation: Required at least ${required} (4*num_malicious_nodes + 3), but received ${parts.length}.`,
      )
      return {}
    }
    const theta = parts.length - 2 * this.numMaliciousNodes
    const beta = theta - 2 * this.numMaliciousNodes
    const selected = this.#selectionRule(parts, this.numMaliciousNodes, theta)
    const names = [...(selected[0] as WeightedReply).arrays.keys()]
    const arrays = names.map((name) => {
      const stack = stacked(
        name,
        selected.map((part) => part.arrays.getArray(name)),
      )
      return [name, arrayOf(meanOfNearest(stack, median(stack), beta))] as const
    })
    return { arrays: new ArrayRecord(arrays), metrics: this.trainMetricsOf(selected) }
  }
}
