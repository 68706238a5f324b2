import { UsageError } from '../../base/errors.ts'
import { pythonFloat } from '../../base/python-float.ts'
import { ArrayRecord, type MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { minus, plus, scaled } from '../arithmetic/elementwise.ts'
import { arrayOf, type Tensor, tensorOf } from '../arithmetic/tensor.ts'
import { type Duration, durationSeconds } from '../duration.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { AsyncRun } from './async-run.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { checkedNumber } from './option-checks.ts'
import { pairedArrays } from './paired-arrays.ts'
import { partsOf } from './replies.ts'
import { Result } from './result.ts'
import { logStart } from './run-log.ts'
import { type TrainingOptions, wholeNumber } from './start-options.ts'
import { Training } from './training.ts'
import { meanOfMetrics } from './weighted-mean.ts'

/** Options of {@link FedBuff}. */
export interface FedBuffOptions {
  /** How many updates of nodes make one step of the model, by default 10. */
  readonly bufferSize?: number | bigint
  /** How many nodes train at the same time, by default 100. */
  readonly concurrency?: number | bigint
  /**
   * The weight of an update, from the number of steps that the model has made since the node received it; by default
   * 1 / √(1 + s).
   */
  readonly staleness?: (steps: number) => number
  /** Updates that missed more steps are dropped, by default 50. So many models at most are kept in memory. */
  readonly maxStaleness?: number | bigint
  /** How far the server steps along the mean of the updates, by default 1. */
  readonly serverLearningRate?: number | bigint
  /** The metric that other metrics are weighted by, by default `num-examples`. Updates count the same. */
  readonly weightedByKey?: string
  /** Name of the record that carries the model to the nodes, by default `arrays`. */
  readonly arrayrecordKey?: string
  /** Name of the record that carries the configuration to the nodes, by default `config`. */
  readonly configrecordKey?: string
}

/** How a {@link FedBuff} trains. */
export interface AsyncStartOptions extends TrainingOptions {
  /** The number of steps of the model, by default 10. */
  readonly numUpdates?: number | bigint
  /** How long a node may take, by default 3600 seconds. Then another one trains in its place. */
  readonly timeout?: Duration
}

/** The update of a node: the model that it received, and what it made of it. */
export interface NodeUpdate {
  readonly received: ArrayRecord
  readonly content: RecordDict
  /** How many steps the model has made since. */
  readonly steps: number
}

/**
 * Asynchronous training with a buffer (Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", 2022,
 * algorithm 1): nodes train all the time, each with the newest model when it begins. When `bufferSize` updates have come,
 * the model steps along their mean, in which older ones count less. Slow nodes hold up no others. A step counts as a round:
 * nodes receive its number as `server-round`. There is no evaluation at nodes. ClientApps are those of {@link FedAvg}.
 *
 * @example
 * const strategy = new FedBuff({ bufferSize: 10, concurrency: 100 })
 * const { arrays } = await strategy.start(grid, initialArrays, { numUpdates: 1000, evaluateFn })
 */
export class FedBuff extends Training {
  readonly bufferSize: number
  readonly concurrency: number
  readonly staleness: (steps: number) => number
  readonly maxStaleness: number
  readonly serverLearningRate: number
  readonly weightedByKey: string
  readonly arrayrecordKey: string
  readonly configrecordKey: string

  constructor(options: FedBuffOptions = {}) {
    super()
    const count = (name: string, value: number | bigint, atLeast = 1): number =>
      checkedNumber('FedBuff', name, value, { isWhole: true, atLeast })
    this.bufferSize = count('bufferSize', options.bufferSize ?? 10)
    this.concurrency = count('concurrency', options.concurrency ?? 100)
    this.maxStaleness = count('maxStaleness', options.maxStaleness ?? 50, 0)
    this.staleness = options.staleness ?? ((steps) => 1 / Math.sqrt(1 + steps))
    this.serverLearningRate = checkedNumber('FedBuff', 'serverLearningRate', options.serverLearningRate ?? 1, {
      above: 0,
    })
    this.weightedByKey = options.weightedByKey ?? 'num-examples'
    this.arrayrecordKey = options.arrayrecordKey ?? 'arrays'
    this.configrecordKey = options.configrecordKey ?? 'config'
  }

  summary(): void {
    log.info('\t├──> FedBuff settings:')
    log.info(`\t│\t├── Buffer size: ${this.bufferSize} | concurrency: ${this.concurrency}`)
    log.info(`\t│\t├── Largest staleness: ${this.maxStaleness}`)
    log.info(`\t│\t└── Server learning rate: ${pythonFloat(this.serverLearningRate)}`)
    log.info('\t└──> Keys in records:')
    log.info(`\t\t├── Weighted by: '${this.weightedByKey}'`)
    log.info(`\t\t├── ArrayRecord key: '${this.arrayrecordKey}'`)
    log.info(`\t\t└── ConfigRecord key: '${this.configrecordKey}'`)
  }

  /**
   * Makes `numUpdates` steps. Throws a UsageError for options that make no sense, and an AggregationError if no node can
   * train.
   */
  async start(grid: Grid, initialArrays: ArrayRecord, options: AsyncStartOptions = {}): Promise<Result> {
    const updates = wholeNumber('numUpdates', options.numUpdates ?? 10)
    const timeoutSeconds = durationSeconds('timeout', options.timeout ?? 3600)
    logStart(this.constructor.name, updates, initialArrays, options)
    this.summary()
    log.info('')
    return new AsyncRun(this, grid, { updates, timeoutSeconds }, options, new Result(initialArrays)).toEnd()
  }

  /** A buffer for the updates of one step. */
  buffer(): UpdateBuffer {
    return new UpdateBuffer(this)
  }
}

/** The sum of the updates that have come since the last step. */
export class UpdateBuffer {
  readonly #strategy: FedBuff
  #sums: Map<string, Tensor> | undefined
  readonly #metrics: RecordDict[] = []
  #steps = 0

  /** @internal */
  constructor(strategy: FedBuff) {
    this.#strategy = strategy
  }

  get isFull(): boolean {
    return this.#metrics.length >= this.#strategy.bufferSize
  }

  /** Throws an InconsistentRepliesError for a reply without the arrays of the model or without its weight. */
  add({ received, content, steps }: NodeUpdate): void {
    const [part] = partsOf([content], this.#strategy.weightedByKey, true)
    const weight = this.#strategy.staleness(steps)
    if (!(weight >= 0 && Number.isFinite(weight)))
      throw new UsageError(`FedBuff: staleness(${steps}) must be a number of 0 or more, not ${weight}.`)
    const sums = new Map<string, Tensor>()
    for (const [name, before, after] of pairedArrays(received, part?.arrays as ArrayRecord)) {
      if (before.shape.join() !== after.shape.join())
        throw new InconsistentRepliesError(`The array '${name}' of a reply has another shape than that of the model.`)
      const update = scaled(minus(tensorOf(name, after), tensorOf(name, before)), weight)
      const sum = this.#sums?.get(name)
      sums.set(name, sum ? plus(sum, update) : update)
    }
    this.#sums = sums
    this.#metrics.push(new RecordDict([...content.metricRecords]))
    this.#steps += steps
  }

  /** The next model: the current one plus the learning rate times the mean of the weighted updates. */
  stepFrom(current: ArrayRecord): ArrayRecord {
    const rate = this.#strategy.serverLearningRate / this.#metrics.length
    return new ArrayRecord(
      [...current].map(([name, array]) => {
        const sum = this.#sums?.get(name) as Tensor
        return [name, arrayOf(plus(tensorOf(name, array), scaled(sum, rate)))] as const
      }),
    )
  }

  /** The mean of the metrics, with the mean number of steps that the updates missed as `mean-staleness`. */
  metrics(): MetricRecord {
    const { weightedByKey } = this.#strategy
    const mean = meanOfMetrics(partsOf(this.#metrics, weightedByKey, false), weightedByKey)
    return mean.set('mean-staleness', float(this.#steps / this.#metrics.length))
  }
}
