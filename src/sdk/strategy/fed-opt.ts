import { pythonGeneral } from '../../base/python-float.ts'
import { ArrayRecord } from '../../message/records.ts'
import { minus, over, plus, root, scaled, shifted, squared } from '../arithmetic/elementwise.ts'
import { arrayOf, type Tensor, tensorOf, zerosLike } from '../arithmetic/tensor.ts'
import { log } from '../log.ts'
import { AggregationError } from './aggregation-error.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { checkedNumber } from './option-checks.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** Options of the strategies with an adaptive step at the server. */
export interface FedOptOptions extends FedAvgOptions {
  /** Learning rate of the server, by default 0.1 (FedYogi: 0.01). */
  readonly eta?: number | bigint
  /** Learning rate of the nodes, by default 0.1 (FedYogi: 0.0316). Only logged, as in Flower. */
  readonly etaL?: number | bigint
  /** How adaptive the algorithm is: added to the root of the second moment, by default 0.001. */
  readonly tau?: number | bigint
}

/** Options of FedAdam and FedYogi. */
export interface MomentOptions extends FedOptOptions {
  /** How much of the first moment is kept from round to round, by default 0.9. */
  readonly beta1?: number | bigint
  /** How much of the second moment is kept from round to round, by default 0.99. */
  readonly beta2?: number | bigint
}

/** @internal The options of FedOpt with every default filled in. */
export interface FedOptSettings {
  readonly eta: number | bigint
  readonly etaL: number | bigint
  readonly beta1: number | bigint
  readonly beta2: number | bigint
  readonly tau: number | bigint
}

/**
 * What FedAdagrad, FedAdam and FedYogi have in common (Reddi et al., "Adaptive Federated Optimization", 2020, algorithm
 * 2): the mean of the nodes' models minus the current model is a gradient, and the server steps along its first moment,
 * divided by the root of its second moment.
 */
export abstract class FedOpt extends FedAvg {
  readonly eta: number
  readonly etaL: number
  readonly beta1: number
  readonly beta2: number
  readonly tau: number
  #first: ReadonlyMap<string, Tensor> = new Map()
  #second: ReadonlyMap<string, Tensor> = new Map()

  constructor(options: FedAvgOptions, settings: FedOptSettings) {
    super(options)
    const { name } = this.constructor
    this.eta = checkedNumber(name, 'eta', settings.eta, { above: 0 })
    this.etaL = checkedNumber(name, 'etaL', settings.etaL, { above: 0 })
    this.beta1 = checkedNumber(name, 'beta1', settings.beta1, { atLeast: 0, below: 1 })
    this.beta2 = checkedNumber(name, 'beta2', settings.beta2, { atLeast: 0, below: 1 })
    this.tau = checkedNumber(name, 'tau', settings.tau, { atLeast: 0 })
  }

  override storeState(): void {
    for (const [name, moment] of [
      [firstKey, this.#first],
      [secondKey, this.#second],
    ] as const)
      this.state.set(name, new ArrayRecord([...moment].map(([array, tensor]) => [array, arrayOf(tensor)] as const)))
  }

  override restoreState(): void {
    this.#first = momentsIn(this.state.arrays(firstKey))
    this.#second = momentsIn(this.state.arrays(secondKey))
  }

  /** The second moment of one array, from the last one and the squared gradient. */
  protected abstract nextSecondMoment(last: Tensor, squaredGradient: Tensor): Tensor

  /** The first moment of one array times the learning rate of the round. */
  protected step(firstMoment: Tensor, _round: number): Tensor {
    return scaled(firstMoment, this.eta)
  }

  override summary(): void {
    log.info('\t├──> FedOpt settings:')
    log.info(`\t│\t├── eta (${pythonGeneral(this.eta)}) | eta_l (${pythonGeneral(this.etaL)})`)
    log.info(`\t│\t├── beta_1 (${pythonGeneral(this.beta1)}) | beta_2 (${pythonGeneral(this.beta2)})`)
    log.info(`\t│\t└── tau (${pythonGeneral(this.tau)})`)
    super.summary()
  }

  override async aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
    const aggregate = await super.aggregateTrain(phase)
    return aggregate.arrays ? { ...aggregate, arrays: this.#stepTowards(aggregate.arrays, phase) } : aggregate
  }

  #stepTowards(mean: ArrayRecord, { current, round }: TrainPhase): ArrayRecord {
    if (mean.size !== current.size || [...current.keys()].some((name) => !mean.has(name)))
      throw new AggregationError(
        'The arrays of the replies have other names than those of the model, so that their difference cannot be computed.',
      )
    const [first, second] = [new Map<string, Tensor>(), new Map<string, Tensor>()]
    const arrays = [...current].map(([name, array]) => {
      const [before, after] = [tensorOf(name, array), tensorOf(name, mean.getArray(name))]
      if (before.shape.join() !== after.shape.join())
        throw new AggregationError(`The array '${name}' of the replies has another shape than that of the model.`)
      const gradient = minus(after, before)
      const firstMoment = plus(
        scaled(this.#first.get(name) ?? zerosLike(after), this.beta1),
        scaled(gradient, 1 - this.beta1),
      )
      const secondMoment = this.nextSecondMoment(this.#second.get(name) ?? zerosLike(after), squared(gradient))
      first.set(name, firstMoment)
      second.set(name, secondMoment)
      const moved = plus(before, over(this.step(firstMoment, round), shifted(root(secondMoment), this.tau)))
      return [name, arrayOf(moved)] as const
    })
    this.#first = first
    this.#second = second
    return new ArrayRecord(arrays)
  }
}

const firstKey = 'first-moment'
const secondKey = 'second-moment'

function momentsIn(record: ArrayRecord): ReadonlyMap<string, Tensor> {
  return new Map([...record].map(([name, array]) => [name, tensorOf(name, array)]))
}
