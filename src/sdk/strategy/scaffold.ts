import { Message } from '../../message/message.ts'
import { ArrayRecord, type ConfigRecord, RecordDict } from '../../message/records.ts'
import { minus, plus, scaled } from '../arithmetic/elementwise.ts'
import { arrayOf, tensorOf } from '../arithmetic/tensor.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { checkedNumber } from './option-checks.ts'
import { controlKey, deltaPrefix, zerosOf } from './scaffold-node.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** Options of {@link Scaffold}. */
export interface ScaffoldOptions extends FedAvgOptions {
  /** How many nodes there are, of which each round samples some. */
  readonly numNodes: number | bigint
  /** How far the server steps towards the mean of the nodes' models, by default 1: all the way. */
  readonly serverLearningRate?: number | bigint
}

/**
 * SCAFFOLD (Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", 2020, algorithm 1): the
 * server and each node keep a control variate, an estimate of their gradients, whose difference corrects the drift of
 * nodes with skewed data. Nodes count the same. The ClientApp uses a {@link ScaffoldNode}.
 *
 * @example
 * new Scaffold({ numNodes: 100, fractionTrain: 0.2 })
 */
export class Scaffold extends FedAvg {
  readonly numNodes: number
  readonly serverLearningRate: number

  constructor(options: ScaffoldOptions) {
    super(options)
    this.numNodes = checkedNumber('Scaffold', 'numNodes', options.numNodes, { isWhole: true, above: 0 })
    this.serverLearningRate = checkedNumber('Scaffold', 'serverLearningRate', options.serverLearningRate ?? 1, {
      above: 0,
    })
  }

  /** The control variate of the server, after the first round. */
  get #control(): ArrayRecord | undefined {
    return this.state.arrayRecords.get(controlKey)
  }

  override summary(): void {
    log.info('\t├──> Scaffold settings:')
    log.info(`\t│\t├── Number of nodes: ${this.numNodes}`)
    log.info(`\t│\t└── Server learning rate: ${this.serverLearningRate}`)
    super.summary()
  }

  override async configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Message[]> {
    const control = this.#control ?? zerosOf(arrays)
    const messages = await super.configureTrain(round, arrays, config, grid)
    return messages.map(
      ({ metadata, content }) =>
        new Message(metadata, { content: new RecordDict([...content, [controlKey, control] as const]) }),
    )
  }

  override async aggregateTrain({ replies, current }: TrainPhase): Promise<Aggregate> {
    const weighted = replies.weightedBy(this.weightedByKey)
    if (weighted.size === 0) return {}
    const mean = await weighted.equalMeanOfArrays()
    const control = this.#control ?? zerosOf(current)
    const model = new ArrayRecord()
    const nextControl = new ArrayRecord()
    for (const [name, array] of current) {
      const [trained, delta] = [mean.get(name), mean.get(deltaPrefix + name)]
      if (!trained || !delta)
        throw new InconsistentRepliesError(
          `The replies lack '${name}' or the change of its control variate: return what ScaffoldNode.reply makes.`,
        )
      const before = tensorOf(name, array)
      const step = scaled(minus(tensorOf(name, trained), before), this.serverLearningRate)
      model.set(name, arrayOf(plus(before, step)))
      // c = c + |S| / N times the mean of the changes.
      const change = scaled(tensorOf(name, delta), weighted.size / this.numNodes)
      nextControl.set(name, arrayOf(plus(tensorOf(name, control.getArray(name)), change)))
    }
    this.state.set(controlKey, nextControl)
    return { arrays: model, metrics: await this.trainMetricsOfAll(weighted) }
  }
}
