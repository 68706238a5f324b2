import { pythonFloat } from '../../base/python-float.ts'
import type { Message } from '../../message/message.ts'
import { ArrayRecord, type ConfigRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { minus, plus, scaled } from '../arithmetic/elementwise.ts'
import { arrayOf, tensorOf, zerosLike } from '../arithmetic/tensor.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { checkedNumber } from './option-checks.ts'
import { pairedArrays } from './paired-arrays.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** Options of {@link FedDyn}. */
export interface FedDynOptions extends FedAvgOptions {
  /** Weight of the regularisation, sent to the nodes as `feddyn-alpha`; by default 0.1. */
  readonly alpha?: number | bigint
  /** How many nodes there are, of which each round samples some. */
  readonly numNodes: number | bigint
}

/** The state of the server, h in the paper. */
const stateKey = 'feddyn-state'

/**
 * FedDyn (Acar et al., "Federated Learning Based on Dynamic Regularization", 2021, algorithm 1): a state at the server and
 * one at each node make the optima of the nodes agree with that of all. The server counts each node the same.
 *
 * A node minimises its loss minus g·θ plus α/2 ‖θ - θ_server‖², where g is its state, 0 at first, and then sets
 * g = g - α (θ - θ_server); the ClientApp keeps it in `context.state`.
 *
 * @example
 * const alpha = message.content.config('config').getNumber('feddyn-alpha')
 * gradient[i] += alpha * (weights[i] - received[i]) - g[i]
 */
export class FedDyn extends FedAvg {
  readonly alpha: number
  readonly numNodes: number

  constructor(options: FedDynOptions) {
    super(options)
    this.alpha = checkedNumber('FedDyn', 'alpha', options.alpha ?? 0.1, { above: 0 })
    this.numNodes = checkedNumber('FedDyn', 'numNodes', options.numNodes, { isWhole: true, above: 0 })
  }

  override summary(): void {
    log.info('\t├──> FedDyn settings:')
    log.info(`\t│\t├── alpha: ${pythonFloat(this.alpha)}`)
    log.info(`\t│\t└── Number of nodes: ${this.numNodes}`)
    super.summary()
  }

  override configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    return super.configureTrain(round, arrays, config.copy().set('feddyn-alpha', float(this.alpha)), grid)
  }

  override async aggregateTrain({ replies, current }: TrainPhase): Promise<Aggregate> {
    const weighted = replies.weightedBy(this.weightedByKey)
    if (weighted.size === 0) return {}
    const mean = await weighted.equalMeanOfArrays()
    const share = weighted.size / this.numNodes
    const last = this.state.arrayRecords.get(stateKey)
    const state = new ArrayRecord()
    const arrays = pairedArrays(current, mean).map(([name, ofModel, ofMean]) => {
      const [before, after] = [tensorOf(name, ofModel), tensorOf(name, ofMean)]
      // h = h - α / m Σ (θ_k - θ), where the sum is that of the nodes that took part.
      const moved = scaled(minus(after, before), this.alpha * share)
      const next = minus(last ? tensorOf(name, last.getArray(name)) : zerosLike(moved), moved)
      state.set(name, arrayOf(next))
      return [name, arrayOf(plus(after, scaled(next, -1 / this.alpha)))] as const
    })
    this.state.set(stateKey, state)
    return { arrays: new ArrayRecord(arrays), metrics: await this.trainMetricsOfAll(weighted) }
  }
}
