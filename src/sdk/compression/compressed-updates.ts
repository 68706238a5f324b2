import { UsageError } from '../../base/errors.ts'
import { ArrayRecord } from '../../message/records.ts'
import { log } from '../log.ts'
import { withArrays } from '../privacy/dp-wrapper.ts'
import { SecureAggregation } from '../secure-aggregation/secure-aggregation.ts'
import { InconsistentRepliesError } from '../strategy/inconsistent-replies.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { StrategyWrapper } from '../strategy/strategy-wrapper.ts'
import { isCompressed, restored } from './compressed-array.ts'

/**
 * Restores the models of nodes that send their updates with the mods {@link quantize} or {@link topK}, and leaves everything
 * else to the strategy inside, which may be any but SecureAggregation. Nodes may compress in different ways, or not at all.
 * It goes around wrappers for differential privacy.
 *
 * @example
 * new CompressedUpdates(new FedAvg({ minTrainNodes: 10 }))
 */
export class CompressedUpdates extends StrategyWrapper {
  constructor(strategy: Strategy) {
    super(strategy)
    for (let one: Strategy | undefined = strategy; one; one = one.inner as Strategy | undefined)
      if (one instanceof SecureAggregation)
        throw new UsageError(
          'CompressedUpdates: masked updates cannot be compressed: use either SecureAggregation or compression.',
        )
  }

  override summary(): void {
    log.info('\t├──> Updates may be compressed')
    this.strategy.summary()
  }

  aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
    const replies = phase.replies.map((reply) =>
      withArrays(reply, (arrays) => restoredModel(phase.current, arrays, reply.metadata.srcNodeId)),
    )
    return this.strategy.aggregateTrain({ ...phase, replies })
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
