import { UsageError } from '../../base/errors.ts'

/** Flower's code for an aggregation that failed. */
const flowerCode = 202

/** Replies that fit together, but from which this strategy can make no model. It fails the run. */
export class AggregationError extends UsageError {
  override readonly name = 'AggregationError'

  constructor(message: string) {
    super(message, { flowerCode })
  }
}
