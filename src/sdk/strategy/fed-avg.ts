import { Message } from '../../message/message.ts'
import { type ArrayRecord, type ConfigRecord, type MetricRecord, RecordDict } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { contentsOf, partsOf } from './replies.ts'
import { sampleNodes } from './sample.ts'
import { Strategy } from './strategy.ts'
import { meanOfArrays, meanOfMetrics } from './weighted-mean.ts'

/** Puts the metrics of several replies together; `weightedByKey` names their weight. */
export type AggregateMetricsFn = (contents: readonly RecordDict[], weightedByKey: string) => MetricRecord

export interface FedAvgOptions {
  /** Share of the online nodes that train in a round, by default 1; 0 skips training. */
  readonly fractionTrain?: number
  readonly fractionEvaluate?: number
  /** At least as many nodes train in a round, by default 2. */
  readonly minTrainNodes?: number
  readonly minEvaluateNodes?: number
  /** A round waits until as many nodes are online, by default 2. */
  readonly minAvailableNodes?: number
  /** The metric that replies are weighted by, by default `num-examples`. */
  readonly weightedByKey?: string
  /** Name of the record that carries the model, by default `arrays`. */
  readonly arrayrecordKey?: string
  /** Name of the record that carries the configuration, by default `config`. */
  readonly configrecordKey?: string
  readonly trainMetricsAggrFn?: AggregateMetricsFn
  readonly evaluateMetricsAggrFn?: AggregateMetricsFn
}

type Phase = 'train' | 'evaluate'

/**
 * Federated averaging (McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017):
 * the new model is the mean of the nodes' models, weighted by their numbers of examples.
 *
 * @example
 * const strategy = new FedAvg({ fractionTrain: 0.5, minAvailableNodes: 10 })
 * const { arrays } = await strategy.start(grid, initialArrays, { numRounds: 20 })
 */
export class FedAvg extends Strategy {
  readonly fractionTrain: number
  readonly fractionEvaluate: number
  readonly minTrainNodes: number
  readonly minEvaluateNodes: number
  readonly minAvailableNodes: number
  readonly weightedByKey: string
  readonly arrayrecordKey: string
  readonly configrecordKey: string
  readonly #aggregators: Readonly<Record<Phase, AggregateMetricsFn | undefined>>

  /** Throws a RangeError for a fraction outside of 0 to 1. */
  constructor(options: FedAvgOptions = {}) {
    super()
    this.fractionTrain = fraction('fractionTrain', options.fractionTrain)
    this.fractionEvaluate = fraction('fractionEvaluate', options.fractionEvaluate)
    // A phase that is skipped waits for nobody.
    this.minTrainNodes = this.fractionTrain === 0 ? 0 : (options.minTrainNodes ?? 2)
    this.minEvaluateNodes = this.fractionEvaluate === 0 ? 0 : (options.minEvaluateNodes ?? 2)
    this.minAvailableNodes = options.minAvailableNodes ?? 2
    this.weightedByKey = options.weightedByKey ?? 'num-examples'
    this.arrayrecordKey = options.arrayrecordKey ?? 'arrays'
    this.configrecordKey = options.configrecordKey ?? 'config'
    this.#aggregators = { train: options.trainMetricsAggrFn, evaluate: options.evaluateMetricsAggrFn }
    for (const [phase, name] of [
      ['Train', 'training'],
      ['Evaluate', 'evaluation'],
    ] as const) {
      if (this[`fraction${phase}`] === 0)
        log.warn(`fraction_${phase.toLowerCase()} is set to 0.0. Federated ${name} will be skipped.`)
    }
  }

  summary(): void {
    log.info('\t├──> Sampling:')
    log.info(
      `\t│\t├──Fraction: train (${this.fractionTrain.toFixed(2)}) | evaluate ( ${this.fractionEvaluate.toFixed(2)})`,
    )
    log.info(`\t│\t├──Minimum nodes: train (${this.minTrainNodes}) | evaluate (${this.minEvaluateNodes})`)
    log.info(`\t│\t└──Minimum available nodes: ${this.minAvailableNodes}`)
    log.info('\t└──> Keys in records:')
    log.info(`\t\t├── Weighted by: '${this.weightedByKey}'`)
    log.info(`\t\t├── ArrayRecord key: '${this.arrayrecordKey}'`)
    log.info(`\t\t└── ConfigRecord key: '${this.configrecordKey}'`)
  }

  configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    return this.#configure('train', round, arrays, config, grid)
  }

  async aggregateTrain(
    _round: number,
    replies: readonly Message[],
  ): Promise<{ arrays?: ArrayRecord; metrics?: MetricRecord }> {
    const contents = contentsOf(replies, 'aggregate_train')
    if (contents.length === 0) return {}
    const parts = partsOf(contents, this.weightedByKey, true)
    return {
      arrays: meanOfArrays(parts),
      metrics: this.#aggregators.train?.(contents, this.weightedByKey) ?? meanOfMetrics(parts, this.weightedByKey),
    }
  }

  configureEvaluate(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    return this.#configure('evaluate', round, arrays, config, grid)
  }

  async aggregateEvaluate(_round: number, replies: readonly Message[]): Promise<MetricRecord | undefined> {
    if (this.fractionEvaluate === 0) return undefined
    const contents = contentsOf(replies, 'aggregate_evaluate')
    if (contents.length === 0) return undefined
    const parts = partsOf(contents, this.weightedByKey, false)
    return this.#aggregators.evaluate?.(contents, this.weightedByKey) ?? meanOfMetrics(parts, this.weightedByKey)
  }

  async #configure(
    phase: Phase,
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Message[]> {
    const share = phase === 'train' ? this.fractionTrain : this.fractionEvaluate
    const minimum = phase === 'train' ? this.minTrainNodes : this.minEvaluateNodes
    if (share === 0) return []
    const sizeOf = (online: number): number => Math.max(Math.floor(share * online), minimum)
    const { sampled, online } = await sampleNodes(grid, this.minAvailableNodes, sizeOf)
    log.info(`configure_${phase}: Sampled ${sampled.length} nodes (out of ${online.length})`)
    // After the caller's own entries, as in Flower: the order is part of the record's id.
    const content = new RecordDict({
      [this.arrayrecordKey]: arrays,
      [this.configrecordKey]: config.copy().set('server-round', round),
    })
    return sampled.map((dstNodeId) => Message.create({ content, messageType: phase, dstNodeId }))
  }
}

function fraction(name: string, value = 1): number {
  if (value >= 0 && value <= 1) return value
  throw new RangeError(`${name} must be from 0 to 1, not ${value}.`)
}
