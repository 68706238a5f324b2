import { UsageError } from '../../base/errors.ts'
import { Message } from '../../message/message.ts'
import { type ArrayRecord, type ConfigRecord, type MetricRecord, RecordDict } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { SelectingGrid } from '../selection/selecting-grid.ts'
import { contentsOf, partsOf } from './replies.ts'
import { collect, type WeightedReplies, type WeightedReply } from './reply-stream.ts'
import { sampleNodes } from './sample.ts'
import { type Aggregate, Strategy, type TrainPhase } from './strategy.ts'
import { meanOfArrays, meanOfMetrics } from './weighted-mean.ts'

/** Puts the metrics of several replies together; `weightedByKey` names their weight. */
export type AggregateMetricsFn = (contents: readonly RecordDict[], weightedByKey: string) => MetricRecord

/** Options of {@link FedAvg} and of all strategies that extend it. */
export interface FedAvgOptions {
  /** Share of the online nodes that train in a round, by default 1 and rounded down; 0 skips training. */
  readonly fractionTrain?: number | bigint
  /** Share of the online nodes that evaluate in a round. */
  readonly fractionEvaluate?: number | bigint
  /** At least as many nodes train in a round, by default 2. */
  readonly minTrainNodes?: number | bigint
  readonly minEvaluateNodes?: number | bigint
  /** A round waits until as many nodes are online, by default 2. */
  readonly minAvailableNodes?: number | bigint
  /** The metric that replies are weighted by, by default `num-examples`. */
  readonly weightedByKey?: string
  /** Name of the record that carries the model to the nodes, by default `arrays`. */
  readonly arrayrecordKey?: string
  /** Name of the record that carries the configuration to the nodes, by default `config`. */
  readonly configrecordKey?: string
  /** In place of the weighted mean of the metrics of training. Needs the memory of all replies at once. */
  readonly trainMetricsAggrFn?: AggregateMetricsFn
  readonly evaluateMetricsAggrFn?: AggregateMetricsFn
}

type Phase = 'train' | 'evaluate'

/**
 * Federated averaging (McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017):
 * the new model is the mean of the nodes' models, weighted by their numbers of examples.
 *
 * A node is sent the model as `arrays` and the configuration with `server-round` as `config`. It replies with one
 * ArrayRecord (in training) and one MetricRecord that has `num-examples`, under names of its choice, the same at all nodes.
 * Nodes that fail are left out of the round.
 *
 * @example
 * const strategy = new FedAvg({ fractionTrain: 0.5, minAvailableNodes: 10 })
 * const { arrays } = await strategy.start(grid, initialArrays, {
 *   numRounds: 20,
 *   trainConfig: new ConfigRecord({ lr: 0.1 }),
 *   evaluateFn: async (round, arrays) => new MetricRecord({ accuracy: await accuracyOf(arrays) }),
 * })
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
  /** The minima that the app has set: the others are 1 for a training that selects its nodes. */
  readonly #given: Pick<FedAvgOptions, 'minTrainNodes' | 'minEvaluateNodes' | 'minAvailableNodes'>
  readonly #trainMetricsAggrFn: AggregateMetricsFn | undefined
  readonly #evaluateMetricsAggrFn: AggregateMetricsFn | undefined

  #nodesToSample = 0
  #random: (() => number) | undefined

  /** Throws a UsageError for a fraction outside of 0 to 1, and a minimum that is no count. */
  constructor(options: FedAvgOptions = {}) {
    super()
    this.fractionTrain = fraction('fractionTrain', options.fractionTrain)
    this.fractionEvaluate = fraction('fractionEvaluate', options.fractionEvaluate)
    // A skipped phase waits for no node.
    this.minTrainNodes = this.fractionTrain === 0 ? 0 : minimum('minTrainNodes', options.minTrainNodes)
    this.minEvaluateNodes = this.fractionEvaluate === 0 ? 0 : minimum('minEvaluateNodes', options.minEvaluateNodes)
    this.minAvailableNodes = minimum('minAvailableNodes', options.minAvailableNodes)
    this.#given = options
    this.weightedByKey = options.weightedByKey ?? 'num-examples'
    this.arrayrecordKey = options.arrayrecordKey ?? 'arrays'
    this.configrecordKey = options.configrecordKey ?? 'config'
    this.#trainMetricsAggrFn = options.trainMetricsAggrFn
    this.#evaluateMetricsAggrFn = options.evaluateMetricsAggrFn
    if (this.fractionEvaluate === 0) log.warn('fraction_evaluate is set to 0.0. Federated evaluation will be skipped.')
    if (this.fractionTrain === 0) log.warn('fraction_train is set to 0.0. Federated training will be skipped.')
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

  async aggregateTrain({ replies }: TrainPhase): Promise<Aggregate> {
    if (this.#trainMetricsAggrFn) return this.#aggregateAtOnce(await collect(replies), this.#trainMetricsAggrFn)
    const weighted = replies.weightedBy(this.weightedByKey)
    if (weighted.size === 0) return {}
    return { metrics: weighted.meanOfMetrics(), arrays: await weighted.meanOfArrays() }
  }

  /** A function of the app receives the whole contents of all replies, as in Flower. */
  #aggregateAtOnce(replies: readonly Message[], aggregate: AggregateMetricsFn): Aggregate {
    const contents = contentsOf(replies, 'aggregate_train')
    if (contents.length === 0) return {}
    const parts = partsOf(contents, this.weightedByKey, true)
    return { arrays: meanOfArrays(parts), metrics: aggregate(contents, this.weightedByKey) }
  }

  /** @internal Whether the app's own function puts the metrics of training together. */
  get hasTrainMetricsAggrFn(): boolean {
    return this.#trainMetricsAggrFn !== undefined
  }

  /** @internal From how many nodes those of the last training round were sampled. */
  get nodesToSample(): number {
    return this.#nodesToSample
  }

  /** @internal Chooses nodes by these numbers, uniform from 0 up to, without, 1, instead of those of Math.random. */
  sampleWith(random: () => number): void {
    this.#random = random
  }

  /** @internal The same of all replies. The app's own function gets whole contents, so they are fetched for it. */
  protected async trainMetricsOfAll(replies: WeightedReplies): Promise<MetricRecord> {
    return this.#trainMetricsAggrFn ? this.trainMetricsOf(await collect(replies)) : replies.meanOfMetrics()
  }

  /** The metrics of some replies put together, by weight or by the app's own function. */
  protected trainMetricsOf(replies: readonly WeightedReply[]): MetricRecord {
    const contents = replies.map(({ content }) => content)
    return this.#trainMetricsAggrFn?.(contents, this.weightedByKey) ?? meanOfMetrics(replies, this.weightedByKey)
  }

  configureEvaluate(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    return this.#configure('evaluate', round, arrays, config, grid)
  }

  async aggregateEvaluate(_round: number, replies: readonly Message[]): Promise<MetricRecord | undefined> {
    const contents = contentsOf(replies, 'aggregate_evaluate')
    if (contents.length === 0) return undefined
    const parts = partsOf(contents, this.weightedByKey, false)
    return this.#evaluateMetricsAggrFn?.(contents, this.weightedByKey) ?? meanOfMetrics(parts, this.weightedByKey)
  }

  async #configure(
    phase: Phase,
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Message[]> {
    const share = phase === 'train' ? this.fractionTrain : this.fractionEvaluate
    if (share === 0) return []
    const minNodes = this.minimumFor(grid, phase === 'train' ? 'minTrainNodes' : 'minEvaluateNodes')
    const sizeOf = (online: number): number => Math.max(Math.floor(online * share), minNodes)
    const { sampled, online } = await sampleNodes(grid, this.minimumFor(grid, 'minAvailableNodes'), sizeOf, {
      ...(this.#random ? { random: this.#random } : {}),
    })
    if (phase === 'train') this.#nodesToSample = online.length
    log.info(`configure_${phase}: Sampled ${sampled.length} nodes (out of ${online.length})`)
    // After the caller's own entries, as in Flower: the order is part of the record's id.
    const content = new RecordDict([
      [this.arrayrecordKey, arrays],
      [this.configrecordKey, config.copy().set('server-round', round)],
    ])
    return sampled.map((dstNodeId) => Message.create({ content, messageType: phase, dstNodeId }))
  }

  /** A minimum that the app did not set is 1 if the training selects its nodes. */
  protected minimumFor(grid: Grid, name: 'minTrainNodes' | 'minEvaluateNodes' | 'minAvailableNodes'): number {
    return grid instanceof SelectingGrid && this.#given[name] === undefined ? 1 : this[name]
  }
}

function fraction(name: string, value: number | bigint = 1): number {
  if (value >= 0 && value <= 1) return Number(value)
  throw new UsageError(`${name} must be a number from 0 to 1, not ${value}.`)
}

function minimum(name: string, value: number | bigint = 2): number {
  const number = Number(value)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new UsageError(`${name} must be a whole number of nodes, not ${value}.`)
}
