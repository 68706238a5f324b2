import type { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, type ConfigRecord } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { FedAvg } from './fed-avg.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { collect } from './reply-stream.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'
import { baggedModel } from './xgboost-bagging.ts'

/**
 * Bagging of XGBoost trees: each round adds the trees of all nodes to the model. The model is one array `0` of bytes,
 * which are XGBoost's JSON; the first one is empty.
 *
 * @example
 * const initialArrays = ArrayRecord.fromList([new Uint8Array()])
 * await new FedXgbBagging({ fractionTrain: 0.5 }).start(grid, initialArrays, { numRounds: 10 })
 */
export class FedXgbBagging extends FedAvg {
  override configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    modelBytes(arrays)
    return super.configureTrain(round, arrays, config, grid)
  }

  override async aggregateTrain({ replies, current }: TrainPhase): Promise<Aggregate> {
    const parts = await collect(replies.weightedBy(this.weightedByKey))
    if (parts.length === 0) return {}
    const model = baggedModel(
      modelBytes(current),
      parts.map(({ arrays }) => modelBytes(arrays)),
    )
    return { arrays: new ArrayRecord([['0', NdArray.from(model)]]), metrics: this.trainMetricsOf(parts) }
  }
}

function modelBytes(arrays: ArrayRecord): Uint8Array {
  const array = arrays.get('0')
  if (!array || arrays.size !== 1)
    throw new InconsistentRepliesError(
      `An XGBoost model must be one array named '0', not ${[...arrays.keys()].map((name) => `'${name}'`).join(', ') || 'none'}.`,
    )
  const { buffer, byteOffset, byteLength } = array.values()
  return new Uint8Array(buffer, byteOffset, byteLength)
}
