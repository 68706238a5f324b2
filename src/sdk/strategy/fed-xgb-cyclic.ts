import { UsageError } from '../../base/errors.ts'
import { Message } from '../../message/message.ts'
import { type ArrayRecord, ConfigRecord, RecordDict } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { collect } from './reply-stream.ts'
import { sampleNodes } from './sample.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'

/** The fractions are 1, or 0 to skip a phase. */
export type FedXgbCyclicOptions = Omit<FedAvgOptions, 'minTrainNodes' | 'minEvaluateNodes'>

/**
 * One node trains in each round, and its model is the next one: the nodes take turns, in the order in which they were
 * first seen. Made for XGBoost, but works with any model.
 *
 * @example
 * new FedXgbCyclic({ minAvailableNodes: 5 })
 */
export class FedXgbCyclic extends FedAvg {
  /** The place of each node that was ever online. */
  readonly #places = new Map<bigint, number>()

  constructor(options: FedXgbCyclicOptions = {}) {
    super(options)
    for (const name of ['fractionTrain', 'fractionEvaluate'] as const)
      if (this[name] !== 0 && this[name] !== 1)
        throw new UsageError(`FedXgbCyclic: ${name} must be 1, or 0 to skip the phase, not ${options[name]}.`)
  }

  override storeState(): void {
    this.state.set('places', new ConfigRecord({ nodes: [...this.#places.keys()].map(String) }))
  }

  override restoreState(): void {
    const nodes = this.state.config('places').get('nodes') as string[]
    for (const [place, nodeId] of nodes.entries()) this.#places.set(BigInt(nodeId), place)
  }

  override configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    return this.#configure('train', round, arrays, config, grid)
  }

  override async aggregateTrain({ replies }: TrainPhase): Promise<Aggregate> {
    const parts = await collect(replies.weightedBy(this.weightedByKey))
    return parts[0] ? { arrays: parts[0].arrays, metrics: this.trainMetricsOf(parts) } : {}
  }

  override configureEvaluate(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    return this.#configure('evaluate', round, arrays, config, grid)
  }

  async #configure(
    phase: 'train' | 'evaluate',
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Message[]> {
    const [share, least] =
      phase === 'train'
        ? [this.fractionTrain, this.minimumFor(grid, 'minTrainNodes')]
        : [this.fractionEvaluate, this.minimumFor(grid, 'minEvaluateNodes')]
    if (share === 0) return []
    const { sampled } = await sampleNodes(grid, this.minimumFor(grid, 'minAvailableNodes'), (online) =>
      Math.max(online, least),
    )
    for (const nodeId of sampled) if (!this.#places.has(nodeId)) this.#places.set(nodeId, this.#places.size)
    const inTurn = sampled.toSorted((a, b) => Number(this.#places.get(a)) - Number(this.#places.get(b)))
    const dstNodeId = inTurn[(round - 1) % inTurn.length] as bigint
    log.info(`configure_${phase}: Sampled 1 nodes (out of ${inTurn.length})`)
    const content = new RecordDict([
      [this.arrayrecordKey, arrays],
      [this.configrecordKey, config.copy().set('server-round', round)],
    ])
    return [Message.create({ content, messageType: phase, dstNodeId })]
  }
}
