import { pythonFloat } from '../../base/python-float.ts'
import { ArrayRecord } from '../../message/records.ts'
import { minus, plus, scaled } from '../arithmetic/elementwise.ts'
import { arrayOf, type Tensor, tensorOf } from '../arithmetic/tensor.ts'
import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { checkedNumber } from './option-checks.ts'
import { pairedArrays } from './paired-arrays.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** Options of {@link FedAvgM}. */
export interface FedAvgMOptions extends FedAvgOptions {
  /** How far the server steps towards the mean, by default 1: all the way. */
  readonly serverLearningRate?: number | bigint
  /** How much of the last step is kept, by default 0. */
  readonly serverMomentum?: number | bigint
}

/**
 * Federated averaging with momentum at the server (Hsu et al., "Measuring the Effects of Non-Identical Data Distribution
 * for Federated Visual Classification", 2019). With its defaults it is {@link FedAvg}.
 *
 * @example
 * new FedAvgM({ serverLearningRate: 1, serverMomentum: 0.9 })
 */
export class FedAvgM extends FedAvg {
  readonly serverLearningRate: number
  readonly serverMomentum: number
  #momentum: readonly Tensor[] | undefined

  constructor(options: FedAvgMOptions = {}) {
    super(options)
    const { serverLearningRate = 1, serverMomentum = 0 } = options
    this.serverLearningRate = checkedNumber('FedAvgM', 'serverLearningRate', serverLearningRate)
    this.serverMomentum = checkedNumber('FedAvgM', 'serverMomentum', serverMomentum)
  }

  get #optimizes(): boolean {
    return this.serverMomentum !== 0 || this.serverLearningRate !== 1
  }

  override storeState(): void {
    if (this.#momentum) this.state.set('momentum', ArrayRecord.fromList(this.#momentum.map(arrayOf)))
  }

  override restoreState(): void {
    const saved = this.state.arrayRecords.get('momentum')
    this.#momentum = saved && [...saved].map(([name, array]) => tensorOf(name, array))
  }

  override summary(): void {
    log.info('\t├──> FedAvgM settings:')
    log.info(`\t│\t├── Server optimization: ${this.#optimizes ? 'ON' : 'OFF'}`)
    log.info(`\t│\t├── Server learning rate: ${pythonFloat(this.serverLearningRate)}`)
    log.info(`\t│\t└── Server Momentum: ${pythonFloat(this.serverMomentum)}`)
    super.summary()
  }

  override async aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
    const aggregate = await super.aggregateTrain(phase)
    if (!this.#optimizes || !aggregate.arrays) return aggregate
    return { ...aggregate, arrays: this.#stepTowards(aggregate.arrays, phase.current) }
  }

  #stepTowards(mean: ArrayRecord, current: ArrayRecord): ArrayRecord {
    const pairs = pairedArrays(mean, current).map(([name, after, before]) => ({
      name,
      after: tensorOf(name, after),
      before: tensorOf(name, before),
    }))
    // Updates are the opposite of gradients.
    let gradients = pairs.map(({ before, after }) => minus(before, after))
    if (this.serverMomentum > 0) {
      const last = this.#momentum
      if (last)
        gradients = gradients.map((gradient, index) =>
          plus(scaled(last[index] as Tensor, this.serverMomentum), gradient),
        )
      this.#momentum = gradients
    }
    return new ArrayRecord(
      pairs.map(({ name, before }, index) => {
        const step = scaled(gradients[index] as Tensor, this.serverLearningRate)
        return [name, arrayOf(minus(before, step))] as const
      }),
    )
  }
}
