import { UsageError } from '../../base/errors.ts'
import type { Message } from '../../message/message.ts'
import { ArrayRecord, type ConfigRecord, type MetricRecord } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { withArrays } from '../privacy/dp-wrapper.ts'
import { SecureAggregation } from '../secure-aggregation/secure-aggregation.ts'
import { InconsistentRepliesError } from '../strategy/inconsistent-replies.ts'
import { type Aggregate, Strategy, type TrainPhase } from '../strategy/strategy.ts'
import { isCompressed, restored } from './compressed-array.ts'

/**
 * Restores the models of nodes that send their updates with the mods {@link quantize} or {@link topK}, and leaves everything
 * else to the strategy inside, which may be any but SecureAggregation. Nodes may compress in different ways, or not at all.
 * It goes around wrappers for differential privacy.
 *
 * @example
 * new CompressedUpdates(new FedAvg({ minTrainNodes: 10 }))
 */
export class CompressedUpdates extends Strategy {
  readonly strategy: Strategy

  constructor(strategy: Strategy) {
    super()
    for (let one: Strategy | undefined = strategy; one; one = one.inner as Strategy | undefined)
      if (one instanceof SecureAggregation)
        throw new UsageError(
          'CompressedUpdates: masked updates cannot be compressed: use either SecureAggregation or compression.',
        )
    this.strategy = strategy
  }

  override get inner(): Strategy {
    return this.strategy
  }

  summary(): void {
    log.info('\t├──> Updates may be compressed')
    this.strategy.summary()
  }

  configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Iterable<Message>> {
    return this.strategy.configureTrain(round, arrays, config, grid)
  }

  aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
    const replies = phase.replies.map((reply) =>
      withArrays(reply, (arrays) => restoredModel(phase.current, arrays, reply.metadata.srcNodeId)),
    )
    return this.strategy.aggregateTrain({ ...phase, replies })
  }

  configureEvaluate(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Iterable<Message>> {
    return this.strategy.configureEvaluate(round, arrays, config, grid)
  }

  aggregateEvaluate(round: number, replies: readonly Message[]): Promise<MetricRecord | undefined> {
    return this.strategy.aggregateEvaluate(round, replies)
  }
}

function restoredModel(current: ArrayRecord, arrays: ArrayRecord, nodeId: bigint): ArrayRecord {
  try {
    return new ArrayRecord(
      [...arrays].map(
        ([name, array]) => [name, isCompressed(array) ? restored(name, current.getArray(name), array) : array] as const,
      ),
    )
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new InconsistentRepliesError(`The reply of node ${nodeId} cannot be restored: ${error.message}`)
  }
}
